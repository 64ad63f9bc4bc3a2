"""What speaks against a row: one file a reason."""
