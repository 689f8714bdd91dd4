"""What a screen says and shows, as plain data."""
