"""A watch from beginning to end, once or again and again."""
