"""What agent and runner share on a resource: the batch folder, claims, processes.

Standard library only, Python 3.9+.
"""
