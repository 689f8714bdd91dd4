"""The rules of the trade: no network, no disk, no clock."""
