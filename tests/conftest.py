"""Loaded by pytest for all tests: makes the test servers available as fixtures."""

pytest_plugins = ["tests.servers.fixtures", "tests.workshop.registry"]
