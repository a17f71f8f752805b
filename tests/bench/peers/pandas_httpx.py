"""pandas reads chunks, httpx sends eight requests at once."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httpx
import pandas as pd

from tests.bench.peers.shapes import SHAPES, dumps

CONNECTIONS = 8
_ROWS_AT_ONCE = 50_000


async def send_all(provider: str, source: str, url: str) -> None:
    """Send each row of the CSV file `source`."""
    shape = SHAPES[provider]
    address = url + shape.path
    lanes = asyncio.Semaphore(2 * CONNECTIONS)
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)

    async def send(client: httpx.AsyncClient, events: list[Any]) -> None:
        try:
            answer = await client.post(address, content=dumps(shape.body(events)), headers=shape.headers)
            answer.raise_for_status()
            shape.check(answer.json(), len(events))
        finally:
            lanes.release()

    number = 0
    frames = pd.read_csv(source, dtype=str, keep_default_na=False, chunksize=_ROWS_AT_ONCE)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client, asyncio.TaskGroup() as tasks:
        left: list[Any] = []
        for frame in frames:
            for row in frame.to_dict("records"):
                number += 1
                left.append(shape.event(row, number))
                if len(left) == shape.size:
                    await lanes.acquire()
                    tasks.create_task(send(client, left))
                    left = []
        if left:
            await lanes.acquire()
            tasks.create_task(send(client, left))


if __name__ == "__main__":
    asyncio.run(send_all(sys.argv[1], sys.argv[2], sys.argv[3]))
