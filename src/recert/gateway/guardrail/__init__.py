"""Recert's controls as the guardrail of another gateway."""
