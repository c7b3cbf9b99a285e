"""SQL and nothing else; what leaves this room has a type."""
