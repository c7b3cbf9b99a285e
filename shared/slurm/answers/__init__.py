"""What SLURM's commands answer: queue, accounting, settings, and what their words mean."""
