"""Attackers that converse: one file a way of doing it."""
