"""An attack from its targets to its report."""
