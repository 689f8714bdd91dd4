"""feedback-collector: watches what happens after the decision and raises signals (M9.1, M9.2)."""
