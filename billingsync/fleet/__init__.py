"""The fleet: many partners, several machines. Nothing below imports it."""
