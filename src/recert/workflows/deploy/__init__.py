"""From certificates to a server that keeps verifying."""
