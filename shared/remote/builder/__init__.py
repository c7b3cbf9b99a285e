"""The builder: makes, rebuilds, removes and measures one task environment. Standard library only, Python 3.9+.

It is the command of a batch of one unit: `builder.py --args-json FILE --out-json FILE`. What it does, and what the
programs that it starts say, goes to its standard output as it comes; what came of it goes to the out file.
"""
