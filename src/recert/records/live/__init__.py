"""What is written while a model is served or watched, and while work runs."""
