"""Commands from rows to a certificate."""
