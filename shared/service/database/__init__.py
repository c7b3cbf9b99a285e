"""SQLite and PostgreSQL: transactions, column types, migrations."""
