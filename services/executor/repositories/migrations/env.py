"""Run by Alembic, through `shared.service.database.migrations`."""

from services.executor.repositories.tables import metadata
from shared.service.database.migrations import run_environment

run_environment(metadata)
