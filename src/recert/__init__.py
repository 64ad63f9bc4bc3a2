"""Recert: a fine-tuned model is a new system, and gets a fresh evaluation, fresh controls and a new sign-off."""

__version__ = "0.1.0"
