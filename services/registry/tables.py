"""The registry's tables."""

from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

from shared.service.database.columns import JsonText, UtcDateTime
from stoker.contracts.profiles import ProfileSpec
from stoker.contracts.resources import ResourceSpec

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ID = String(26)

resources = Table(
    "resources",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("type", String(20), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("spec", JsonText(ResourceSpec), nullable=False),
)

profiles = Table(
    "profiles",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("resource_id", _ID, ForeignKey("resources.id"), nullable=False, index=True),
    Column("name", Text, nullable=False, unique=True),
    Column("resource_type", String(20), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("spec", JsonText(ProfileSpec), nullable=False),
)

access_keys = Table(
    "access_keys",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("key_sha256", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("role", String(20), nullable=False),
    Column("owner", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
)

grants = Table(
    "grants",
    metadata,
    Column("key_id", _ID, ForeignKey("access_keys.id", ondelete="CASCADE"), primary_key=True),
    Column("profile_id", _ID, ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True, index=True),
)

holds = Table(
    "holds",
    metadata,
    Column("token", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    # Deleting what is held fails in the database too, whoever asks.
    Column("profile_id", _ID, ForeignKey("profiles.id"), nullable=False, index=True),
    Column("resource_id", _ID, ForeignKey("resources.id"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_holds_holder_token", "holder", "token"),
)
