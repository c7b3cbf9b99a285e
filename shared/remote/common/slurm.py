"""What SLURM's commands are given on a resource, whoever calls them."""

from __future__ import annotations

QUERY_ENVIRONMENT = {
    "SLURM_TIME_FORMAT": "%s",  # epoch seconds, whatever the site's clock shows
    "SLURM_BITSTR_LEN": "0",  # whole lists of waiting tasks, not their first 64 characters
    "TZ": "UTC",
    "LC_ALL": "C",
}
"""Set for squeue, sacct and scontrol. Of all other variables named SLURM_, SBATCH_, SQUEUE_ or SACCT_ something, only
SLURM_CONF may reach any of SLURM's commands: they change what these do and print."""

LAUNCHES = "launches"
"""Folder of the job folder with the script, the intent and the answer of each sbatch."""

LAUNCH_LOGS = "slurm"
"""Folder of the job folder that SLURM writes the output of launches into (SLURM does not make it)."""
