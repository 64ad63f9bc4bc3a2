"""Routes of the tuning service."""
