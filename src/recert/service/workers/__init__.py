"""What workers of the tuning service do, and the queue they take it from."""
