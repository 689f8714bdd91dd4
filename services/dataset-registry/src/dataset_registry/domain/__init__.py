"""The rules of the trade, without I/O."""
