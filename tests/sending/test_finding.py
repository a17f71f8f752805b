"""A provider that publishes no rate: one is found, most of it is used, and few requests are refused."""

from __future__ import annotations

import asyncio
import random

import pytest

from loader.sending.finding import ENOUGH, FoundRate
from loader.sending.pacing import Pacer
from tests.support.clock import Clock

LANES = 8
SECONDS = 1200.0


class Minutes:
    """Takes `most` requests in each minute, and says how long the minute still lasts."""

    def __init__(self, most: int) -> None:
        self._most, self._minute, self._count = most, -1, 0
        self.capacity = most / 60

    def refuses(self, now: float) -> float | None:
        """None where a request is taken, else the seconds to wait."""
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._count = minute, 0
        self._count += 1
        return None if self._count <= self._most else 60 - now % 60


class Bucket:
    """Holds `size` requests, and is filled with `rate` of them a second. It does not say how long to wait."""

    def __init__(self, rate: float, size: float) -> None:
        self.capacity, self._size = rate, size
        self._left, self._at = size, 0.0

    def refuses(self, now: float) -> float | None:
        """None where a request is taken, else nothing to go by."""
        self._left = min(self._size, self._left + (now - self._at) * self.capacity)
        self._at = now
        if self._left < 1:
            return 0.0
        self._left -= 1
        return None


@pytest.mark.parametrize(
    ("provider", "floor"), [(Minutes(300), 1.0), (Minutes(60), 5.0), (Bucket(20, 50), 1.0), (Bucket(20, 50), 5.0)]
)
def test_most_of_what_a_provider_takes_is_used(
    provider: Minutes | Bucket, floor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, chance = Clock(monkeypatch), random.Random(3)
    began, pacer = clock.now, Pacer(None)
    taken: list[float] = []
    refused: list[float] = []

    async def lane() -> None:
        while True:
            await pacer.turn()
            if clock.now - began >= SECONDS:
                return
            await asyncio.sleep(chance.uniform(0.01, 0.05))
            now = clock.now - began
            wait = provider.refuses(now)
            if wait is None:
                taken.append(now)
                pacer.taken()
            else:
                refused.append(now)
                pacer.failed(wait or None, floor, too_fast=True)

    async def lanes() -> None:
        await asyncio.gather(*(lane() for _ in range(LANES)))

    clock.run(lanes())
    used = len([at for at in taken if at > 120]) / (SECONDS - 120) / provider.capacity
    assert used > 0.85
    # One a minute, and those that were under way beside it.
    assert len([at for at in refused if at > 120]) < 0.05 * len(taken)
    assert pacer.found == pytest.approx(provider.capacity, rel=0.25)


def test_a_refusal_that_says_nothing_of_the_rate_changes_none() -> None:
    found = FoundRate()
    found.leaves(0.0)
    found.refused(0.1, 5.0)
    assert found.rate is None
    found.leaves(5.2)
    for _ in range(ENOUGH):
        found.taken()
    found.refused(6.1, 4.0)
    assert found.rate == pytest.approx(ENOUGH / 5.0)
    found.refused(10.2, 4.0)
    assert found.rate == pytest.approx(ENOUGH / 10.0)


def test_the_rate_grows_by_the_same_step_every_second() -> None:
    found = FoundRate()
    found.leaves(0.0)
    for _ in range(100):
        found.taken()
    found.refused(5.0, 5.0)
    assert found.rate == 10.0
    for _ in range(105):  # about ten seconds
        found.taken()
    assert found.rate == pytest.approx(11.0, rel=0.01)
