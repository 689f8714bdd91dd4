"""The rules that turn what happens at a station into signals: plain data, no input or output."""
