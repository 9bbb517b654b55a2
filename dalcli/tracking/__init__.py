"""Measurements on their way into somebody else's log."""
