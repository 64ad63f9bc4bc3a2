"""The server: the application, its connections, its counts and its clean end."""
