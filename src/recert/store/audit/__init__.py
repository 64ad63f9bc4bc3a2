"""The audit log: append-only lines, checked, proven, searched. `log.py` is to be read first."""
