"""Task environments and their tasks, jobs that change them, and the second phase of compound tasks.

Revision ID: 0003
Revises: 0002
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _job_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("kind", sa.String(length=16), server_default="work", nullable=False),
        sa.Column("placement", sa.String(length=16), server_default="local", nullable=False),
        sa.Column("environment_id", sa.String(length=26), nullable=True),
        sa.Column("task", sa.Text(), nullable=True),
    )


def upgrade() -> None:
    """Add the tables and columns; jobs on clusters are placed by SLURM."""
    for column in _job_columns():
        op.add_column("jobs", column)
    op.create_index("ix_jobs_environment_id", "jobs", ["environment_id"], unique=False)
    # Inside a JSON text its quotes would have backslashes: only a field is found.
    op.execute("""UPDATE jobs SET placement = 'slurm' WHERE snapshot LIKE '%"type":"slurm%'""")
    op.add_column("batches", sa.Column("phase", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "environments",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_before", sa.String(length=16), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("package", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("profile_id", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("built", sa.Text(), nullable=True),
        sa.Column("disk_bytes", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("activity_id", sa.String(length=26), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("identity", sa.String(length=64), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("body_sha256", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environments")),
        sa.UniqueConstraint("identity", name=op.f("uq_environments_identity")),
        sa.UniqueConstraint("key_id", "idempotency_key", name=op.f("uq_environments_key_id_idempotency_key")),
    )
    op.create_index("ix_environments_resource_id", "environments", ["resource_id", "id"], unique=False)
    op.create_index("ix_environments_profile_id", "environments", ["profile_id"], unique=False)
    op.create_index("ix_environments_activity_id", "environments", ["activity_id"], unique=False)
    op.create_table(
        "environment_files",
        sa.Column("environment_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["environments.id"],
            name=op.f("fk_environment_files_environment_id_environments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("environment_id", name=op.f("pk_environment_files")),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("environment_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["environments.id"],
            name=op.f("fk_tasks_environment_id_environments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("environment_id", "name", name=op.f("uq_tasks_environment_id_name")),
    )


def downgrade() -> None:
    """Drop them. Jobs that changed environments go too: nothing else knows what they are."""
    op.drop_table("tasks")
    op.drop_table("environment_files")
    op.drop_table("environments")
    op.execute("DELETE FROM jobs WHERE kind = 'activity'")
    op.drop_column("batches", "phase")
    op.drop_index("ix_jobs_environment_id", table_name="jobs")
    for column in reversed(_job_columns()):
        op.drop_column("jobs", column.name)
