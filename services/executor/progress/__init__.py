"""One transaction: rows move on, a batch ends, and what follows it."""
