"""Attack families: the ways in which a request is put."""
