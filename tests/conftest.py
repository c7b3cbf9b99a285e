"""Loaded by pytest for all tests: makes the test servers available as fixtures, and decides on the order."""

pytest_plugins = [
    "tests.ordering",
    "tests.over_http.fixtures",
    "tests.servers.fixtures",
    "tests.servers.slurm.fixtures",
    "tests.stack.fixtures",
    "tests.workshop.registry",
    "tests.workshop.serving",
]
