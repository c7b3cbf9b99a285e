"""Reading a JSON-lines file that grows: only complete lines count."""


def complete_lines(data: bytes) -> tuple[list[bytes], int]:
    """Return the complete lines in `data` (without their newlines; empty ones left out) and how many bytes they took.

    What follows the last newline is a line that is being written, or that a dead writer left: not counted.
    """
    used = data.rfind(b"\n") + 1
    return [line for line in data[:used].split(b"\n") if line], used
