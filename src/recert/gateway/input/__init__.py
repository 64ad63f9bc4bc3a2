"""Controls of what comes in."""
