"""How what ships with Recert was made: asset makers and the training of embedded judges."""
