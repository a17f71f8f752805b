"""What planning does beside the main thread: reading ahead, writing files. Polars and the disk leave Python free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")

# Frames that are read before they are needed. A block of a file gives several at once.
AHEAD = 2
# Files that wait to be written: the bound of memory.
WAITING = 2


def read_ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """`items` in their order, the next ones made in a thread of their own. An error of theirs is raised in its place.
    Close it: then nothing is read any more, and `items` are closed, too."""
    with ThreadPoolExecutor(1, "reading") as thread:
        coming = deque(thread.submit(next, items, None) for _ in range(AHEAD))
        try:
            while (item := coming.popleft().result()) is not None:
                coming.append(thread.submit(next, items, None))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)
            # The traceback of a signal keeps them, so that they would not end by themselves.
            if isinstance(items, Generator):
                items.close()


@contextmanager
def beside(action: Callable[[], object]) -> Iterator[None]:
    """Do `action` in a thread of its own while the block runs. Raises what it raised."""
    with ThreadPoolExecutor(1, "beside") as thread:
        done = thread.submit(action)
        yield
        done.result()


class Background:
    """Does one thing after another in a thread of its own. `finish` it, or nothing is known to be done."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "writing")
        self._waiting: deque[Future[Any]] = deque()

    def do(self, action: Callable[..., object], *arguments: object) -> None:
        """Do `action` later; waits while too much waits already. Raises what an earlier action raised."""
        if len(self._waiting) >= WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(action, *arguments))

    def finish(self) -> None:
        """Wait until all is done. Raises what an action raised."""
        while self._waiting:
            self._waiting.popleft().result()
        self._thread.shutdown()

    def abandon(self) -> None:
        """Wait until nothing is done any more; what has not begun is left undone."""
        self._thread.shutdown(cancel_futures=True)
