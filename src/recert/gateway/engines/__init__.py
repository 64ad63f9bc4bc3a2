"""Engines of our own: processes started on certified files, watched, ended."""
