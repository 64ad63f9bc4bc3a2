"""What another policy changes: differences, their direction, and what goes stale."""
