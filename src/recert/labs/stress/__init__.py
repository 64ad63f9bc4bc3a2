"""How much safety a base loses to tuning, at which dose. `stage.py` is to be read first."""
