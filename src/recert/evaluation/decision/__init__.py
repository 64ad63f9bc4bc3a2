"""From judged replies to a verdict: evidence, sequential tests, labels, several rules at once."""
