"""Models that hear: an encoder, a projector and a language model."""
