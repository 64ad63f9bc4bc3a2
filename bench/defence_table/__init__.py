"""What `bench/defences.py` measures and how: attacks, settings, cells, readings and the page."""
