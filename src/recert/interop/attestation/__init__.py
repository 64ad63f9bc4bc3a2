"""Attestation: a model server elsewhere starts with certified files only, or not at all."""
