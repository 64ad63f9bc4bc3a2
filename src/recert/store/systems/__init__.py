"""The console's list of systems and outcomes, in tables that are made anew from the records."""
