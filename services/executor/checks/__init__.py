"""Is a profile usable, and what mends it?"""
