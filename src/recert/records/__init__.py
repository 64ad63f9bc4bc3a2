"""Frozen, versioned records: the only things that stages hand to each other. Import from the module that defines."""
