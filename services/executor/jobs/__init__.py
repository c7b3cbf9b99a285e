"""Use cases of jobs: accept, plan, cancel, read, remove."""
