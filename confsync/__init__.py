"""confsync carries layered configuration from Consul KV to the host, as one transaction."""

__version__ = "0.1.0"
