"""Evaluations that are counted: the ledger, its lines, and new sealed prompts."""
