"""States, endings, records and ids: pure, imported by all."""
