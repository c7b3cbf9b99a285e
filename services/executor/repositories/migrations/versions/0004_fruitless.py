"""Batches that take over units which others had not begun.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("batches", sa.Column("fruitless", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("batches", "fruitless")
