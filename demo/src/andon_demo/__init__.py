"""A plant to try Andonloop with: cameras, people and an MES, all of them played, and an auditor who counts
from outside.
"""
