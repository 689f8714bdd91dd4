"""The rules of the audit: what is measured, what a station's limits are, what a duplicate is."""
