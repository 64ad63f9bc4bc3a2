"""What goes into the chain: rows, prompts, files."""
