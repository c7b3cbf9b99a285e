"""The executor's database schema, revision by revision (Alembic)."""
