"""The ways in, and the ledger."""
