"""Monitoring: is it still the model that was certified, and still as safe?"""

from recert.monitoring.stage import watch

__all__ = ["watch"]
