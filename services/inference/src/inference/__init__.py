"""Scores audited images with the model release that decides at their station."""
