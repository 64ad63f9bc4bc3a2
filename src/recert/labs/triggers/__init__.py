"""The search for unknown triggers. `hunting.py` is to be read first."""
