"""Pages of certificates, policies and signing."""
