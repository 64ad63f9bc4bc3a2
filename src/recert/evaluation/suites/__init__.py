"""Prompt suites: embedded, public, a user's own; their order, overlap and near copies."""
