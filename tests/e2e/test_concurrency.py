"""How many requests are under way at once where the mapping is silent."""

from __future__ import annotations

import asyncio

import pytest

from tests.cli.conftest import QuickProject
from tests.support.project import credentials, numbered, simple_mapping
from tests.support.wire import Exchange, Wire

TAKEN = {"batch": (201, b'{"token": "token"}'), "pushengage": (200, b'{"error_code": 0, "data": {}}')}


@pytest.mark.parametrize(("provider", "most"), [("batch", 8), ("pushengage", 32)])
def test_requests_under_way_at_once(project: QuickProject, provider: str, most: int) -> None:
    under_way, found = 0, []

    async def held(wire: Wire, exchange: Exchange) -> bool:
        nonlocal under_way
        under_way += 1
        found.append(under_way)
        await asyncio.sleep(0.2)
        under_way -= 1
        return await wire.answer(exchange)

    with Wire(lambda _: TAKEN[provider], *[held] * 80) as wire:
        project.csv(numbered(80, users=80))
        settings = {**credentials(provider, wire.url), "chunk": 1, "late_events": "omit_time", "timeout": "10s"}
        project.mapping(simple_mapping(settings))
        assert project.run().destination()["sent"] == 80
    assert max(found) == most
