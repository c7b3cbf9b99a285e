"""How to reach what: agents, holds, host keys, reachability."""
