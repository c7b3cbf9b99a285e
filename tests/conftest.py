"""Loaded by pytest for all tests: makes the test servers available as fixtures."""

pytest_plugins = [
    "tests.over_http.fixtures",
    "tests.servers.fixtures",
    "tests.servers.slurm.fixtures",
    "tests.stack.fixtures",
    "tests.workshop.registry",
    "tests.workshop.serving",
]
