"""A stand-in for pixi, which cannot be had in the tests: a program of that name with pixi's own engine inside.

It solves, writes and reads lock files, installs and activates for real (py-rattler), from a conda channel in a folder
that `channel.py` makes. It knows the two verbs that the builder uses, and of project files only what the tests write:
what it does not show is how pixi itself reads its command line, and PyPI packages in pixi projects.
"""
