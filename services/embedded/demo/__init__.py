"""The demonstration: a job over Python's own standard library, and a task of a real package on a small image."""
