"""What could stand behind an endpoint in a certified model's place, and how surely probes tell."""
