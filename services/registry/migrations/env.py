"""Run by Alembic, through `shared.migrations`."""

from services.registry.tables import metadata
from shared.migrations import run_environment

run_environment(metadata)
