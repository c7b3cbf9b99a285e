"""What crosses a border between services, or between a service and its callers. Imports msgspec only.

Requests from people forbid unknown fields (a typo is an error); responses and messages tolerate them.
Times are seconds since the epoch as floats in files and messages, and RFC 3339 (UTC) in HTTP bodies.
"""
