"""Keys, envelopes, statements, and the sheet that a signer reads."""
