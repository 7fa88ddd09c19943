"""billingsync bills HaloPSA clients for what Pax8 charged, every charge exactly once."""

__version__ = "0.1.0"
