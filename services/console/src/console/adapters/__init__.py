"""HTTP behind the ports."""
