"""The parts of `bench/fleet.py`: unit costs, the simulation, sizes, and the page."""
