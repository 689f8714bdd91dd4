"""The runtime without containers: real components as supervised plain processes on one machine."""
