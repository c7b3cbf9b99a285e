"""The way to another user of this host: one fixed command that sudo allows."""
