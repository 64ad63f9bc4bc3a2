"""Controls of what goes out, while it streams."""
