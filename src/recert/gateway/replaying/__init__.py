"""Stored exchanges under another policy."""
