"""What people say of replies, and which replies they are asked about."""
