"""A published rate is used to the full, evenly, for as long as it takes, and never passed. By a simulated clock."""

from __future__ import annotations

import asyncio
import random

import pytest

from loader.sending.pacing import Pacer
from tests.support.clock import Clock

LANES = 8


class Traffic:
    """Lanes that send one request after the other, as a delivery's do. Each needs some time to arrive and to come back,
    the first one more, for it opens the connection. `left`, `arrived`: when, in seconds; the provider refuses for
    `refuses` seconds the request that arrives first after `refused_at`."""

    def __init__(self, clock: Clock, rate: float, refused_at: float | None = None, refuses: float = 0.0) -> None:
        self._clock, self._pacer = clock, Pacer(rate)
        self._random = random.Random(7)
        self._refused_at, self._refuses = refused_at, refuses
        self.left: list[float] = []
        self.arrived: list[float] = []

    async def flow(self, seconds: float) -> None:
        """Send for so long."""
        self._began = self._clock.now
        await asyncio.gather(*(self._lane(seconds) for _ in range(LANES)))
        self.arrived.sort()

    async def _lane(self, seconds: float) -> None:
        while True:
            await self._pacer.turn()
            left = self._clock.now - self._began
            if left >= seconds:
                return
            self.left.append(left)
            await asyncio.sleep(self._random.uniform(0.01, 0.05) if len(self.left) > 1 else 0.2)
            arrived = self._clock.now - self._began
            self.arrived.append(arrived)
            await asyncio.sleep(self._random.uniform(0.01, 0.03))
            self._pacer.answered(self._clock.now - self._began - left)
            if self._refused_at is not None and arrived >= self._refused_at:
                self._refused_at = None
                self._pacer.failed(self._refuses, 1.0)
            else:
                self._pacer.taken()

    def most_within(self, seconds: float) -> int:
        """The most requests that arrived in any `seconds`."""
        most, first = 0, 0
        for last, at in enumerate(self.arrived):
            while at - self.arrived[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


def test_an_hour_at_a_hundred_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    traffic = Traffic(clock, 100 / 60)
    clock.run(traffic.flow(3600.0))
    assert len(traffic.arrived) >= 0.995 * 6000
    assert traffic.most_within(60.0) == 100
    gaps = [after - before for before, after in zip(traffic.left, traffic.left[1:], strict=False)]
    assert max(gaps) - min(gaps) < 0.01


def test_a_hundred_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    traffic = Traffic(clock, 6000 / 60)
    clock.run(traffic.flow(120.0))
    assert len(traffic.arrived) >= 0.985 * 12_000
    assert traffic.most_within(60.0) <= 6000


def test_after_a_refusal_the_rate_is_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    traffic = Traffic(clock, 100 / 60, refused_at=300.0, refuses=30.0)
    clock.run(traffic.flow(900.0))
    paused = [at for at in traffic.left if 301 < at < 329]
    assert paused == []
    assert sum(330 <= at < 630 for at in traffic.left) >= 0.995 * 500
    assert traffic.most_within(60.0) == 100


def test_a_slow_answer_leaves_no_more_room_than_it_did_before(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    pacer = Pacer(100 / 60)
    left: list[float] = []

    async def turns() -> None:
        for _ in range(101):
            await pacer.turn()
            left.append(clock.now)

    pacer.answered(20.0)
    clock.run(turns())
    assert left[100] - left[0] == pytest.approx(60.6)
