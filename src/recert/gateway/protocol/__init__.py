"""OpenAI's protocol: requests read strictly, replies written, one exchange from parse to reply."""
