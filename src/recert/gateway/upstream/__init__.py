"""The client of what runs the model, and what tells that model from others."""
