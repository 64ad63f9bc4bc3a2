"""The status list, renewal, and the register of certificates."""
