"""The name of the one partner of an installation that serves no others."""

SINGLE = "default"
