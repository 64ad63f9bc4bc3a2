"""OpenSSF model signatures: read, checked, written."""
