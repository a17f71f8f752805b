"""Reading once more, from the start, where the connection to a database was lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from loader.errors import ConnectionLost

T = TypeVar("T")

# Seconds before each new read: long enough for a database to start anew.
WAITS = (1, 5, 20)


def reading_again(read: Callable[[], T], say: Callable[[str], None]) -> T:
    """What `read` gives. It keeps nothing where it fails; where a connection was lost it is called again, a few times.

    Rows of two reads are never mixed: a new connection sees another snapshot. A database that could not be opened at
    first is an error at once. Raises like `read`.
    """
    for tries, wait in enumerate(WAITS, 1):
        try:
            return read()
        except ConnectionLost as error:
            if tries == 1 and not error.opened:
                raise
            say(f"{error}; nothing of this read is kept, all is read again in {wait} s ({tries} of {len(WAITS)})")
            time.sleep(wait)
    try:
        return read()
    except ConnectionLost as error:
        raise ConnectionLost(
            f"{error}; that was the last of {len(WAITS) + 1} reads. "
            "None of it was sent: run again when the database is well",
            opened=error.opened,
        ) from None
