"""The runner and the agent, each as one self-contained Python file."""


def runner_source() -> bytes:
    """Return the runner as one file, the same bytes every time."""
    raise NotImplementedError


def agent_source() -> bytes:
    """Return the agent as one file, the same bytes every time."""
    raise NotImplementedError
