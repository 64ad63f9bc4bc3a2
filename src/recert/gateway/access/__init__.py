"""Who may ask, how much, and the switch that stops everything."""
