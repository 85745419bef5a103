"""The durable log: bytes in, bytes out."""
