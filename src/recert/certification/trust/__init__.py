"""The root of trust, and whose signatures count."""
