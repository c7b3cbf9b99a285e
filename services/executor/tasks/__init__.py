"""Tasks of environments: from a package's manifest to a job's units, and what units may answer. Pure functions."""
