"""When the next request may leave: the destination's rate, its pauses, and when to give up."""

from __future__ import annotations

import asyncio
import random
import time

from loader.sending.finding import FoundRate

FIRST_WAIT = 0.5
# Requests do not take equally long to arrive; without some room the last of a window would meet the first of it. What
# the longest of them took to be answered is enough, and no more than this share of the window is given.
MOST_ROOM = 0.01
LONGEST_WAIT = 60.0
# Chunks in doubt one after another: something between us and the provider is broken, and each further try adds doubt.
MOST_IN_DOUBT = 5


class Halted(Exception):
    """Nothing more is to be sent to this destination now."""


class Pacer:
    """One destination's clock. All its requests ask for their `turn`; a pause holds all of them back."""

    def __init__(self, rate: float | None) -> None:
        """`rate`: requests a second, or None. A whole number may be counted by the second, any other by the minute."""
        self._rate = rate
        self._found = None if rate else FoundRate()
        self._window = 1.0 if rate and rate.is_integer() else 60.0
        self._longest: float | None = None
        self._next = 0.0
        self._paused_until = 0.0
        self._failures = 0
        self.halt = asyncio.Event()
        self._failing_since: float | None = None

    async def turn(self) -> None:
        """Wait until a request may leave. Raises Halted."""
        while True:
            now = time.monotonic()
            slot = max(now, self._next, self._paused_until)
            self._next = slot + self._interval()
            if slot > now:
                await self.sleep(slot - now)
            if self.halt.is_set():
                raise Halted
            if not self.paused:
                if self._found is not None:
                    self._found.leaves(time.monotonic())
                return

    def _interval(self) -> float:
        """Seconds from one request to the next."""
        if self._found is not None:
            return 1.0 / self._found.rate if self._found.rate else 0.0
        if not self._rate:
            return 0.0
        most = MOST_ROOM * self._window
        room = most if self._longest is None else min(most, self._longest)
        return (1.0 + room / self._window) / self._rate

    def answered(self, seconds: float) -> None:
        """A request was answered, or given up, after so many seconds: it arrived no later."""
        self._longest = max(seconds, self._longest or 0.0)

    @property
    def paused(self) -> bool:
        """Whether no request may leave now."""
        return self._paused_until > time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep, but wake when the destination is halted."""
        try:
            async with asyncio.timeout(seconds):
                await self.halt.wait()
        except TimeoutError:
            return

    def taken(self) -> None:
        """The provider took something, or refused it for its content: it is there and it answers."""
        self._failures = 0
        self._failing_since = None
        if self._found is not None:
            self._found.taken()

    @property
    def found(self) -> float | None:
        """Requests a second that were taken before one was refused, where no rate is given; None: none was refused."""
        return None if self._found is None else self._found.borne

    @property
    def failing(self) -> float:
        """Seconds since the first failure after which nothing was taken."""
        return 0.0 if self._failing_since is None else time.monotonic() - self._failing_since

    def failed(self, asked: float | None, floor: float, *, too_fast: bool = False) -> float:
        """Pause the destination after a failure: as the provider asks or by backoff, at least `floor`; the seconds.

        `too_fast`: the provider refused the request for there were too many.
        """
        if self._failing_since is None:
            self._failing_since = time.monotonic()
        # Requests that were under way together fail together: they count as one failure.
        together = self.paused
        if not together:
            self._failures += 1
        backoff = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(self._failures - 1, 10)) * random.uniform(1.0, 1.25)  # noqa: S311
        # A provider that asks for no wait at all would be asked again as fast as it answers.
        wait = max(asked if asked is not None else backoff, floor, FIRST_WAIT)
        if too_fast and not together and self._found is not None:
            self._found.refused(time.monotonic(), wait)
        self._paused_until = max(self._paused_until, time.monotonic() + wait)
        return wait
