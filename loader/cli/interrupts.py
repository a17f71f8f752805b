"""SIGINT and SIGTERM outside a delivery (which has handlers of its own, see `loader.sending`)."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from loader.errors import Exit, Interrupted


class Terminated(BaseException):
    """SIGTERM arrived. Like KeyboardInterrupt, no handler of errors may swallow it."""


def _raise(_number: int, _frame: object) -> NoReturn:
    raise Terminated


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise `Terminated`, so that temporary files and child processes are put away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def nothing_kept(sending: Callable[[], bool]) -> Iterator[None]:
    """Turn a signal into `Interrupted` with the right words. `sending`: whether a delivery has begun."""
    try:
        yield
    except (KeyboardInterrupt, Terminated) as stop:
        words = "nothing was sent, nothing is kept"
        if sending():
            words = "what was sent is saved, nothing new is kept; run again to go on"
        code = Exit.SIGTERM if isinstance(stop, Terminated) else Exit.SIGINT
        raise Interrupted(f"interrupted; {words}", code) from None
