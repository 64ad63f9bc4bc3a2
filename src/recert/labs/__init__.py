"""What evaluation asks and what stress plants: attack families and triggers."""
