"""Pages drawn from records: they decide nothing."""
