"""The runner: executes one batch, a pool of slots, then leaves. Standard library only, Python 3.9 and newer.

It is one single-threaded process that waits for signals, below a guardian that outlives it by a moment and ends
whatever it may leave behind.
"""
