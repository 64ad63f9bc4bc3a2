"""The whole story on the embedded model. `stage.py` is to be read first."""
