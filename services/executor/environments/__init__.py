"""Use cases of task environments: create, change, read."""
