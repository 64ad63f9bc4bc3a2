"""The `recert` command: parse, call one verb, print."""
