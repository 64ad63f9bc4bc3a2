"""Requests spoken aloud, offline: voices, and what happens to a sound on its way."""
