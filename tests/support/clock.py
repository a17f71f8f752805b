"""Time that passes only while everybody waits: an hour of asyncio in a second."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any

import pytest


class Clock:
    """`now`: seconds. `run` a coroutine, and what it sleeps is added to them at once; `time.monotonic` tells them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """As `asyncio.run`. What waits for a socket or another thread waits for ever: time goes on without it."""
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_Leaping(self))) as runner:
            runner.run(main)


class _Leaping(selectors.PollSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is not None and timeout > 0:
            self._clock.now += timeout
        return ready
