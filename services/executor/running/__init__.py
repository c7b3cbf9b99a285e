"""The engine: stage, launch, collect; and what the poller is to watch."""
