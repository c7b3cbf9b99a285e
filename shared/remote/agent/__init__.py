"""The agent: acts on a resource as the right user, and speaks frames over its standard input and output.

Standard library only, Python 3.9 and newer. One thread reads requests, each request runs in a thread of its own.
"""
