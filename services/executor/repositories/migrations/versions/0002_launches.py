"""Launches on a scheduler, further attempts of units, and what is known of a batch's wait and end.

Revision ID: 0002
Revises: 0001
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _batch_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("staged", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("memory_growth", sa.Integer(), server_default="0", nullable=False),
        sa.Column("time_growth", sa.Integer(), server_default="0", nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("estimated_start", sa.Float(), nullable=True),
        sa.Column("scheduler", sa.Text(), nullable=True),
        sa.Column("end_seen", sa.Text(), nullable=True),
        sa.Column("cpu_seconds", sa.Float(), nullable=True),
        sa.Column("peak_memory_bytes", sa.BigInteger(), nullable=True),
    )


def upgrade() -> None:
    """Add the tables and columns; batches of staged jobs are staged."""
    op.create_table(
        "launches",
        sa.Column("marker", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=26), nullable=False),
        sa.Column("base", sa.Integer(), nullable=False),
        sa.Column("tasks", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("intended_at", sa.Float(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=True),
        sa.Column("array_job_id", sa.BigInteger(), nullable=True),
        sa.Column("absent_since", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_launches_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("marker", name=op.f("pk_launches")),
    )
    op.create_index("ix_launches_job_id", "launches", ["job_id"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.String(length=26), nullable=False),
        sa.Column("unit_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("batch_index", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("signal", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("peak_memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("cpu_seconds", sa.Float(), nullable=True),
        sa.Column("log_slot", sa.Integer(), nullable=True),
        sa.Column("log_from", sa.BigInteger(), nullable=True),
        sa.Column("log_to", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "unit_index", "attempt", name=op.f("pk_attempts")),
    )
    for column in _batch_columns():
        op.add_column("batches", column)
    op.execute(
        "UPDATE batches SET staged = (SELECT jobs.staged FROM jobs WHERE jobs.id = batches.job_id)"
        " WHERE state NOT IN ('ended', 'revoked', 'lost')"
    )


def downgrade() -> None:
    """Drop them."""
    for column in reversed(_batch_columns()):
        op.drop_column("batches", column.name)
    op.drop_table("attempts")
    op.drop_table("launches")
