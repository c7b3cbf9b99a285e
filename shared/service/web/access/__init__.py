"""Who is calling: access keys, verified and remembered for a short time."""
