"""Serving only what is certified, behind controls, with an audit line for every exchange."""
