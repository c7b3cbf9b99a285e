"""Units into batches: pure functions."""
