"""Files written whole, private files, copies that stay as they were verified."""
