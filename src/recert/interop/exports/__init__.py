"""Exports: a certificate in the formats that others read, with nothing in them that it does not say."""
