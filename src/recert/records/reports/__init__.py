"""What stages hand over: one report a stage, and what it is made of."""
