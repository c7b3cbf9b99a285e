"""Packages and what was sent of them: names, wheels, archives, manifests, and what an environment holds."""
