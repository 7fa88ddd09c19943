"""The pure core: standard library and itself, no I/O, no clock, no float."""
