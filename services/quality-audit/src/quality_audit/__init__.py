"""Measures every image before anyone labels it or a model sees it (M3)."""
