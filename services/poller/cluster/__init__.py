"""The queue of one resource's cluster: looked at once per interval, and shown to those who ask."""
