"""Who may see the console, and how they sign in."""
