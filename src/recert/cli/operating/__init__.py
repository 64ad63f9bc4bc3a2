"""Commands of running servers and watches."""
