"""The same tools as the loader's and none of its promises: what these cost, and what no promise could be faster than.

Polars reads and encodes, reqwest sends eight requests at once, and both go on at the same time. Nothing proves that the
CSV was read as it was written, nothing is checked against the provider's limits, nothing is on disk before it leaves or
afterwards: who stops it loses and doubles events, and one bad cell ends it after half of them were sent.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import polars as pl
import uvloop
from pyreqwest.client import Client, ClientBuilder

from tests.bench.peers.shapes import SHAPES

CONNECTIONS = 8
_ROWS_AT_ONCE = 20_000

_EMPTY = pl.col("label", "channel", "tags")
_NAME = pl.when(pl.col("event").str.starts_with("ue.")).then("event").otherwise(pl.concat_str(pl.lit("ue."), "event"))
_TAGS = pl.col("tags").str.split("|")


def _iso(column: str, end: str = "") -> pl.Expr:
    return pl.col(column).str.replace(" ", "T", literal=True) + end


def _seconds(column: str) -> pl.Expr:
    return pl.col(column).str.to_datetime("%Y-%m-%d %H:%M:%S").dt.timestamp("us") // 1_000_000


def _properties(ordered_at: pl.Expr, *more: pl.Expr, key: str = "ordered_at") -> pl.Expr:
    amount, quantity = pl.col("amount").cast(pl.Float64), pl.col("quantity").cast(pl.Int64)
    return pl.struct("product", amount, quantity, "channel", ordered_at.alias(key), *more)


_BATCH = {
    "name": _NAME,
    "time": _iso("occurred_at"),
    "label": pl.col("label"),
    "attributes": _properties(_iso("ordered_at"), key="date(ordered_at)"),
    "tags": _TAGS,
}
_APPIZER = {
    "event_name": pl.col("event"),
    "user_id": pl.col("user_id"),
    "properties": _properties(_iso("ordered_at", "Z"), pl.col("label"), _TAGS),
}
_BLOOMREACH = {
    "name": pl.lit("customers/events"),
    "data": pl.struct(
        pl.struct(registered="user_id").alias("customer_ids"),
        pl.col("event").alias("event_type"),
        _seconds("occurred_at").alias("timestamp"),
        _properties(_seconds("ordered_at"), pl.col("label"), _TAGS).alias("properties"),
    ),
    "command_id": pl.col("row").cast(pl.String),
}
_PUSHENGAGE = {
    "event_name": pl.col("event"),
    "profile_id": pl.col("user_id"),
    "data": _properties(_iso("ordered_at", "Z"), pl.col("label"), pl.col("tags")),
}
AROUND = {
    "batch": ("[", "]"),
    "appizer": ('{"events":[', "]}"),
    "bloomreach": ('{"commands":[', "]}"),
    "pushengage": ("", ""),
}
EVENTS = {"batch": _BATCH, "appizer": _APPIZER, "bloomreach": _BLOOMREACH, "pushengage": _PUSHENGAGE}


def bodies(provider: str, source: str) -> Iterator[list[bytes]]:
    """The bodies of all rows of the CSV file `source`, those of some rows at a time."""
    event = (
        pl.struct([value.alias(key) for key, value in EVENTS[provider].items()])
        .struct.json_encode()
        .str.replace_all(r',"(?:label|channel|tags)":null', "")
    )
    frames = pl.scan_csv(source, infer_schema=False).with_row_index("row", 1)
    for frame in frames.collect_batches(chunk_size=_ROWS_AT_ONCE, maintain_order=True):
        full = frame.with_columns(pl.when(_EMPTY != "").then(_EMPTY))
        chunk = (pl.col("row") - 1) // SHAPES[provider].size
        events = full.select(chunk.alias("chunk"), "user_id", event=event)
        if provider == "batch":
            users = events.group_by("chunk", "user_id", maintain_order=True).agg(pl.col("event").str.join(","))
            user = pl.struct(id="user_id").struct.json_encode().str.strip_suffix("}")
            events = users.select("chunk", event=user + ',"events":[' + pl.col("event") + "]}")
        before, after = AROUND[provider]
        joined = events.group_by("chunk", maintain_order=True).agg(pl.col("event").str.join(","))
        yield joined.select(pl.lit(before) + pl.col("event") + after).to_series().cast(pl.Binary).to_list()


async def send_all(provider: str, source: str, url: str) -> None:
    """Send each row of the CSV file `source`."""
    shape, some = SHAPES[provider], bodies(provider, source)
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(4 * CONNECTIONS)

    async def lane(client: Client) -> None:
        while (body := await queue.get()) is not None:
            answer = await client.post(url + shape.path).headers(shape.headers).body_bytes(body).build().send()
            answer.error_for_status()
            count = body.count(b'"command_id":') if provider == "bloomreach" else body.count(b'"event_name":')
            shape.check(await answer.json(), count)

    async with ClientBuilder().max_connections(CONNECTIONS).build() as client, asyncio.TaskGroup() as lanes:
        for _ in range(CONNECTIONS):
            lanes.create_task(lane(client))
        ahead = asyncio.create_task(asyncio.to_thread(next, some, None))
        while (ready := await ahead) is not None:
            ahead = asyncio.create_task(asyncio.to_thread(next, some, None))
            for body in ready:
                await queue.put(body)
        for _ in range(CONNECTIONS):
            await queue.put(None)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send_all(sys.argv[1], sys.argv[2], sys.argv[3]))
