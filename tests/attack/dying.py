"""The `loader` command in a process that kills itself, by SIGKILL as from outside, at a chosen or at a random instant.

    python -m tests.attack.dying POINT NTH ARGUMENTS...

POINT is a name of `POINTS`, and NTH says at which passing of it; or `instant`, and NTH is seconds; or `never`.
Frames and parts are `small` here.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

from loader.cli import main
from loader.plan import staging
from loader.sources import base, files

# What is passed, and when it is fatal: before or after it. `during`: soon after it has begun.
POINTS: Final[dict[str, tuple[str, str, str]]] = {
    "checkpoint to be made": ("loader.checkpoint", "Checkpoint.open", "before"),
    "checkpoint made": ("loader.checkpoint", "Checkpoint.open", "after"),
    "frame read": ("loader.plan.planner", "Planner.add", "before"),
    "frame staged": ("loader.plan.planner", "Planner.add", "after"),
    "part to be written": ("loader.plan.staging", "write_durably", "before"),
    "part written": ("loader.plan.staging", "write_durably", "after"),
    "file to be renamed": ("pathlib", "Path.rename", "before"),
    "file renamed": ("pathlib", "Path.rename", "after"),
    "plan complete": ("loader.plan.planner", "Planner.commit", "before"),
    "plan to be committed": ("loader.plan.planner", "Planner.commit", "after"),
    "plan committed": ("loader.pipeline", "_deliver", "before"),
    "commit": ("loader.sending.journal", "Journal._commit", "before"),
    "in the commit": ("loader.sending.journal", "Journal._commit", "during"),
    "committed": ("loader.sending.journal", "Journal._commit", "after"),
    "intent kept": ("loader.sending.http", "HttpClient.send", "before"),
    "on the wire": ("loader.sending.http", "HttpClient.send", "during"),
    "answered": ("loader.sending.http", "HttpClient.send", "after"),
    "receipt kept": ("loader.sending.deliver", "Delivery._recorded", "before"),
    "chunk to be cut": ("loader.sending.deliver", "Delivery._split", "before"),
    "chunk cut": ("loader.sending.deliver", "Delivery._split", "after"),
    "run to be concluded": ("loader.pipeline", "_conclude", "before"),
    "status set": ("loader.checkpoint", "Checkpoint.set_status", "after"),
    "plan to be forgotten": ("loader.checkpoint", "Checkpoint.forget", "before"),
    "plan forgotten": ("loader.checkpoint", "Checkpoint.forget", "after"),
    "to be sent again": ("loader.cli.resolve", "resend", "before"),
    "made pending again": ("loader.sending.decide", "set_chunk", "after"),
    "to be skipped": ("loader.cli.resolve", "skip", "before"),
    "skipped": ("loader.cli.resolve", "skip", "after"),
    "to be cancelled": ("loader.cli.cancel", "cancel", "before"),
    "cancelled": ("loader.cli.cancel", "cancel", "after"),
    "to be planned again": ("loader.planning", "restage", "before"),
    "planned again": ("loader.planning", "restage", "after"),
}
_SOON = 0.004


@contextmanager
def small() -> Iterator[None]:
    """Make frames and parts so small that little data makes many."""
    sizes = (files, "BLOCK_BYTES", 1500), (base, "FRAME_ROWS", 40), (staging, "PART_EVENTS", 60)
    with patch.object(*sizes[0]), patch.object(*sizes[1]), patch.object(*sizes[2]):
        yield


def arm(point: str, nth: int) -> None:
    """Make the `nth` passing of a point of `POINTS` the end of this process."""
    module, path, when = POINTS[point]
    owner = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    found = inspect.getattr_static(owner, name)
    passed = itertools.count(1)

    def passing(here: str) -> None:
        if here == when and next(passed) == nth:
            die()

    def soon() -> None:
        if when == "during" and next(passed) == nth:
            threading.Timer(_SOON, die).start()

    setattr(owner, name, _around(found, passing, soon))


def _around(found: Any, passing: Callable[[str], None], soon: Callable[[], None]) -> Any:
    """`found` (a function, coroutine function, class or static method) with calls before and after it."""
    if isinstance(found, (classmethod, staticmethod)):
        return type(found)(_around(found.__func__, passing, soon))
    if inspect.iscoroutinefunction(found):

        async def awaited(*arguments: Any, **named: Any) -> Any:
            passing("before")
            soon()
            result = await found(*arguments, **named)
            passing("after")
            return result

        return awaited

    def called(*arguments: Any, **named: Any) -> Any:
        passing("before")
        soon()
        result = found(*arguments, **named)
        passing("after")
        return result

    return called


def die() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def _at(seconds: float) -> None:
    time.sleep(seconds)
    die()


if __name__ == "__main__":
    point, nth, *arguments = sys.argv[1:]
    # The instant is one of the command's, not of Python's start.
    importlib.import_module("loader.sending.http")
    importlib.import_module(f"loader.cli.{arguments[0]}")
    if point == "instant":
        threading.Thread(target=_at, args=[float(nth)], daemon=True).start()
    elif point != "never":
        arm(point, int(nth))
    sys.argv[1:] = arguments
    with small():
        main(prog_name="loader")
