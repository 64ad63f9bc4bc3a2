"""The list of systems, made from records in folders."""
