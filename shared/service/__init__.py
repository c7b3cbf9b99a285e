"""Plumbing that the services have in common."""
