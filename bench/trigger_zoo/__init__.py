"""Tuned models with planted triggers, and clean ones: the ground truth of `bench/triggers.py`."""
