"""Trains a model from a dataset snapshot and packs it as a signed release bundle."""
