"""Rows that are spoken: what they say, and how close they are to what is asked."""
