"""A certificate with what lies beside it, as its readers get it: who signed, what decided, how to verify."""
