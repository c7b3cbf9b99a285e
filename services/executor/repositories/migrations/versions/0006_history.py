"""Indices, so that nothing grows with history or with the other batches of a job.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_UNENDED = sa.text("ended_at IS NULL")
_NEW = (
    ("ix_jobs_state_id", "jobs", ["state", "id"], None),
    ("ix_jobs_owner_state_id", "jobs", ["owner", "state", "id"], None),
    ("ix_jobs_name_id", "jobs", ["name", "id"], None),
    ("ix_jobs_unended", "jobs", ["next_try_at", "id"], _UNENDED),
    ("ix_batches_job_id_state", "batches", ["job_id", "state"], None),
    ("ix_batches_unended", "batches", ["job_id", "state"], _UNENDED),
    ("ix_units_batch", "units", ["job_id", "batch_index", "unit_index"], None),
)
_OLD = (("ix_jobs_state", "jobs", ["state"]), ("ix_batches_state", "batches", ["state"]))


def upgrade() -> None:
    """Add the new ones; two of the old ones are no longer of use."""
    for name, table, columns, where in _NEW:
        op.create_index(name, table, columns, unique=False, postgresql_where=where, sqlite_where=where)
    for name, table, _ in _OLD:
        op.drop_index(name, table_name=table)


def downgrade() -> None:
    """The same the other way round."""
    for name, table, columns in _OLD:
        op.create_index(name, table, columns, unique=False)
    for name, table, _, _ in reversed(_NEW):
        op.drop_index(name, table_name=table)
