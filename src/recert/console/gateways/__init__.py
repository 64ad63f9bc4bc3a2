"""Pages of gateways, their logs and watches."""
