"""The chain: six stages in order, and the stories told with them."""
