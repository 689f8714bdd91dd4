"""What a capture is: its identity, its metadata and their gaps, its time."""
