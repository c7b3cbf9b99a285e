"""Kinds of resource: what each has to offer (`kind`), this machine (`local`), and SLURM clusters (`slurm/`)."""
