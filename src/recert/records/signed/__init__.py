"""What people sign: certificates, refusals, attempts, and what binds them."""
