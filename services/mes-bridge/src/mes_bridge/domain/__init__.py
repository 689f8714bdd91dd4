"""What a delivery, an answer and a finding mean: plain data and pure functions."""
