"""Evaluations in the formats of other tools, and Recert's tasks in Inspect."""
