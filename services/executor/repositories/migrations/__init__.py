"""How the executor's schema came to be, one revision after the other."""

from pathlib import Path

LOCATION = Path(__file__).parent
