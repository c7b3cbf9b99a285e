"""The demonstration: a real job over input that every machine has, Python's own standard library."""
