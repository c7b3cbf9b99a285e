"""SLURM clusters: launching with sbatch, and judging from files, queue and accounting what became of a batch."""
