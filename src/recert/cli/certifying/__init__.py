"""Commands around keys, trust, logs and certificates."""
