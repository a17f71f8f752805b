"""When the next request may leave."""

from __future__ import annotations

import asyncio
import time

import pytest

from loader.sending.pacing import FIRST_WAIT, Pacer


@pytest.mark.parametrize("asked", [0.0, 0.01])
def test_a_provider_that_asks_for_no_wait_is_not_asked_in_a_loop(asked: float) -> None:
    assert Pacer(None).failed(asked, 0.0) >= FIRST_WAIT


def test_what_the_provider_asks_is_waited() -> None:
    assert Pacer(None).failed(7.0, 5.0) == 7.0
    assert Pacer(None).failed(1.0, 5.0) == 5.0


def test_a_minute_of_the_provider_that_begins_late_holds_no_request_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    now: list[float] = [1000.0]
    left: list[float] = []

    async def sleep(_: Pacer, seconds: float) -> None:
        now[0] += seconds

    async def all_of_them() -> None:
        for _ in range(101):
            await pacer.turn()
            left.append(now[0])

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(Pacer, "sleep", sleep)
    pacer = Pacer(100 / 60)
    asyncio.run(all_of_them())
    # The first request opens the connection, and so arrives a quarter of a second after it left.
    assert left[99] - left[0] < 60 < left[100] - (left[0] + 0.25)


def test_a_failure_after_long_success_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pacer = Pacer(1 / 3600)
    pacer.taken()
    now[0] += 3600  # the rate allows one request an hour
    pacer.failed(None, 0.0)
    assert pacer.failing == 0.0
    now[0] += 5
    pacer.failed(None, 0.0)
    assert pacer.failing == 5.0
    pacer.taken()
    assert pacer.failing == 0.0
