"""May a grader be learned from? `stage.py` is to be read first."""
