"""Resources, profiles, access keys with their grants, and holds."""

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.String(26)
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "resources",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_resources"),
        sa.UniqueConstraint("name", name="uq_resources_name"),
    )
    op.create_table(
        "profiles",
        sa.Column("id", _ID, nullable=False),
        sa.Column("resource_id", _ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("resource_type", sa.String(20), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_profiles"),
        sa.UniqueConstraint("name", name="uq_profiles_name"),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name="fk_profiles_resource_id_resources"),
    )
    op.create_index("ix_profiles_resource_id", "profiles", ["resource_id"])
    op.create_table(
        "access_keys",
        sa.Column("id", _ID, nullable=False),
        sa.Column("key_sha256", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("last_used_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_access_keys"),
        sa.UniqueConstraint("key_sha256", name="uq_access_keys_key_sha256"),
    )
    op.create_table(
        "grants",
        sa.Column("key_id", _ID, nullable=False),
        sa.Column("profile_id", _ID, nullable=False),
        sa.PrimaryKeyConstraint("key_id", "profile_id", name="pk_grants"),
        sa.ForeignKeyConstraint(
            ["key_id"], ["access_keys.id"], name="fk_grants_key_id_access_keys", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["profile_id"], ["profiles.id"], name="fk_grants_profile_id_profiles", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_grants_profile_id", "grants", ["profile_id"])
    op.create_table(
        "holds",
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("profile_id", _ID, nullable=False),
        sa.Column("resource_id", _ID, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("token", name="pk_holds"),
        sa.ForeignKeyConstraint(["profile_id"], ["profiles.id"], name="fk_holds_profile_id_profiles"),
        sa.ForeignKeyConstraint(["resource_id"], ["resources.id"], name="fk_holds_resource_id_resources"),
    )
    op.create_index("ix_holds_profile_id", "holds", ["profile_id"])
    op.create_index("ix_holds_resource_id", "holds", ["resource_id"])
    op.create_index("ix_holds_holder_token", "holds", ["holder", "token"])


def downgrade() -> None:
    """Drop them, and all that is in them."""
    for table in ("holds", "grants", "access_keys", "profiles", "resources"):
        op.drop_table(table)
