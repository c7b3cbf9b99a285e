"""Real servers for tests: each on an address of its own, never the system's, gone when the tests are."""
