"""Turns the evidence about a capture into its one disposition, and people's verdicts into corrections."""
