"""The service: when to look, one cycle at a time, stop on signal."""
