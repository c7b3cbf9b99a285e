"""Run by Alembic, through `shared.migrations`."""

from services.executor.tables import metadata
from shared.migrations import run_environment

run_environment(metadata)
