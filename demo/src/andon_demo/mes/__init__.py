"""The MES stand-in: a process of its own that knows nothing of Andonloop but its webhook contract."""
