"""How many cores one frame may use."""

from __future__ import annotations

from mquans.errors import MquansError

MOST_THREADS = 1024


def check_threads(threads: int) -> None:
    """Refuses what is no number of cores.

    Raises:
        MquansError: not a whole number, less than 1 or more than any machine has.
    """
    if not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise MquansError(
            f"threads must be a whole number from 1 to {MOST_THREADS}, not {threads!r}."
        )
