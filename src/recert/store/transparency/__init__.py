"""The transparency log on disk: entries, and the Merkle tree over them (`spec/transparency-log.md`)."""
