"""Tuning: what was trained, on what, how, with which defence."""
