"""A plug-in of each kind; `pyproject.toml` beside says by which names Recert finds them."""
