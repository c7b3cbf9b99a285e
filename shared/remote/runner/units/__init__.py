"""One unit's attempt: from its arguments to a running command, and from its end to an outcome."""
