"""The conversation with the builder: what it is asked, and what it answers. Pure functions."""
