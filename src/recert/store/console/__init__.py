"""What the console's sign-in keeps: accounts, sessions, failed sign-ins, links that were shared."""
