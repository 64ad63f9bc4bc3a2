"""Where things are kept: files written whole, cached replies, the audit log."""
