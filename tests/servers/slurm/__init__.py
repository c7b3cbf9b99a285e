"""A real private SLURM for tests: daemons, accounting, users and sudo rules, all gone when the tests are."""
