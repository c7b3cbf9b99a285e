"""What SLURM is asked for: the needs of units, batch scripts, and the values that may stand in them."""
