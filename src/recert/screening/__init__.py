"""Screening: which rows may be learned from. Read `stage.py` first."""
