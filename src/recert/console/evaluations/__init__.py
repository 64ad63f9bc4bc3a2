"""Pages of screenings, runs, evaluations and searches."""
