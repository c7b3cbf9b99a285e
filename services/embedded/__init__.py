"""The whole of Stoker on one machine: an embedded Redis-compatible server and the services, under one supervisor."""
