"""Loaded by pytest for all tests: makes the test servers available as fixtures."""

pytest_plugins = [
    "tests.servers.fixtures",
    "tests.servers.slurm.fixtures",
    "tests.workshop.registry",
    "tests.workshop.serving",
]
