"""Whether a provider can be reached at all: one request without credentials and without a body, never an event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from loader.providers.base import Answer, Request, http_date
from loader.sending.client import NoAnswer, NothingSent

SECONDS = 10.0


@dataclass(frozen=True)
class Reached:
    """An answer of `status` came after `seconds`. `ahead`: seconds by which this machine's clock is ahead of the
    server's (`Date`, RFC 9110 6.6.1: whole seconds), None where the answer does not say."""

    status: int
    seconds: float
    ahead: float | None


def reach(addresses: Mapping[str, str]) -> dict[str, Reached | str]:
    """Ask each of `addresses` (name → base URL) for a `HEAD`, all at once: the answer, or why there is none."""
    return asyncio.run(_reach_all(addresses))


async def _reach_all(addresses: Mapping[str, str]) -> dict[str, Reached | str]:
    answers = await asyncio.gather(*(_reach(address) for address in addresses.values()))
    return dict(zip(addresses, answers, strict=True))


async def _reach(address: str) -> Reached | str:
    # Takes its time to import, like in a delivery.
    from loader.sending.http import HttpClient  # noqa: PLC0415

    began = time.monotonic()
    try:
        async with HttpClient(address, 1, SECONDS) as client:
            answer = await client.send(Request("HEAD", address, {}, b""))
    except (NothingSent, NoAnswer) as error:
        return str(error)
    return Reached(answer.status, time.monotonic() - began, _ahead(answer))


def _ahead(answer: Answer) -> float | None:
    date = http_date(answer.headers.get("date", ""))
    # The header tells the second in which the answer was made, of which half has passed on average.
    return None if date is None else (datetime.now(UTC) - date).total_seconds() - 0.5
