"""SLURM as text: what is asked of it and what it answers. Pure functions; nothing here starts a process.

What SLURM answers is read as a stranger's words: job names and comments are any user's text, so rows are separated by
a nonce that nobody could have guessed, odd rows are counted, and an unknown word is data. Nothing that reads raises.
"""
