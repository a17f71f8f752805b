"""The rival, written in an afternoon: rows one by one, json.dumps, one requests.Session; no plan and no receipts.

A CSV by `csv.DictReader`, PostgreSQL by a server-side cursor of psycopg, Parquet by rows of polars.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from typing import Any

import requests

from tests.bench.peers.shapes import SHAPES, Row, dumps


def send_all(provider: str, source: str, url: str) -> None:
    """Send each row of `source`."""
    shape = SHAPES[provider]
    session = requests.Session()
    session.headers.update(shape.headers)
    address = url + shape.path

    def send(events: list[Any]) -> None:
        answer = session.post(address, data=dumps(shape.body(events)))
        answer.raise_for_status()
        shape.check(answer.json(), len(events))

    make, size = shape.event, shape.size
    events: list[Any] = []
    for number, row in enumerate(rows(source), 1):
        events.append(make(row, number))
        if len(events) == size:
            send(events)
            events = []
    if events:
        send(events)


def rows(source: str) -> Iterator[Row]:
    """The rows of a CSV or Parquet file, or of `postgresql://…#table`."""
    if source.startswith("postgresql://"):
        yield from _table(*source.rsplit("#", 1))
    elif source.endswith(".parquet"):
        import polars as pl

        for frame in pl.scan_parquet(source).collect_batches(chunk_size=50_000, maintain_order=True):
            yield from frame.iter_rows(named=True)
    else:
        with open(source, newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)


def _table(url: str, table: str) -> Iterator[Row]:
    import psycopg
    from psycopg.rows import dict_row

    with psycopg.connect(url) as connection, connection.cursor("all_of_it", row_factory=dict_row) as cursor:
        cursor.itersize = 10_000
        cursor.execute(f'SELECT * FROM "{table}"')
        yield from cursor


if __name__ == "__main__":
    send_all(*sys.argv[1:4])
