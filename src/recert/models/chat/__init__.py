"""What is put around what people say: prompts, templates, traces of reasoning, the secret."""
