"""The rules of deciding: plain data and pure functions, no I/O."""
