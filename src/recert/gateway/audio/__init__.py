"""Spoken parts of requests: heard before they are judged."""
