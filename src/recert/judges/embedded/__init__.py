"""Judges that come with Recert and need no other model."""
