"""Stoker's command line and the client library for other programs."""
