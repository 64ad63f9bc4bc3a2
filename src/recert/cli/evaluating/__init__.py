"""Commands around evaluations and policies."""
