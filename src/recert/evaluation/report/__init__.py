"""What an evaluation leaves: outcomes, comparisons, and the words of both."""
