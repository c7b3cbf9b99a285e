"""`python -m stoker`: the command line."""

from stoker.cli import main

main()
