"""What in the folder of a batch could not be taken, shown as its remark.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("batches", sa.Column("left_out", sa.Integer(), server_default="0", nullable=False))
    op.add_column("batches", sa.Column("remark", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take them back."""
    op.drop_column("batches", "remark")
    op.drop_column("batches", "left_out")
