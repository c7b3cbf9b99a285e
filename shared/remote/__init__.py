"""What runs on a resource: standard library only, Python 3.9 and newer; each program becomes one file."""
