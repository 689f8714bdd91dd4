"""Brings dispositions to the plant's systems, once and in order, and brings their findings back."""
