"""Labels for an evaluation in a folder, and the report decided anew."""
