"""dlt with a custom destination that posts: from rows (`rows`) or from Arrow tables (`arrow`), the fourth argument.

A destination of dlt is called with the events of one call at a time.
"""

from __future__ import annotations

import csv
import os
import sys
import tempfile
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import dlt
import requests

from tests.bench.peers.shapes import SHAPES, dumps

_ROWS_AT_ONCE = 5_000
_BYTES_AT_ONCE = 16 << 20


def send_all(provider: str, source: str, url: str, way: str) -> None:
    """Send each row of the CSV file `source`."""
    shape = SHAPES[provider]
    session = requests.Session()
    session.headers.update(shape.headers)
    numbers = count(1)

    def post(items: Any, table: Any) -> None:
        rows = items.to_pylist() if way == "arrow" else items
        events = [shape.event({key: row.get(key) for key in _COLUMNS}, next(numbers)) for row in rows]
        answer = session.post(url + shape.path, data=dumps(shape.body(events)))
        answer.raise_for_status()
        shape.check(answer.json(), len(events))

    destination = dlt.destination(
        post, batch_size=shape.size, loader_file_format="parquet" if way == "arrow" else "typed-jsonl"
    )
    pipeline = dlt.pipeline("bench", destination=destination, dataset_name="bench", progress=None)
    read = _tables(source) if way == "arrow" else _rows(source)
    # Or dlt would make moments of the texts of times.
    texts: Any = {name: {"data_type": "text"} for name in _COLUMNS}
    pipeline.run(dlt.resource(read, name="events", columns=texts))


_COLUMNS = (
    *("user_id", "event", "occurred_at", "label", "product"),
    *("amount", "quantity", "channel", "ordered_at", "tags"),
)


def _rows(source: str) -> Iterator[list[dict[str, str]]]:
    with open(source, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        while rows := list(islice(reader, _ROWS_AT_ONCE)):
            yield rows


def _tables(source: str) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    texts = arrow_csv.ConvertOptions(column_types=dict.fromkeys(_COLUMNS, pa.string()))
    blocks = arrow_csv.ReadOptions(block_size=_BYTES_AT_ONCE)
    newlines = arrow_csv.ParseOptions(newlines_in_values=True)
    yield from map(_table, arrow_csv.open_csv(source, blocks, newlines, texts))


def _table(batch: Any) -> Any:
    import pyarrow as pa

    return pa.Table.from_batches([batch])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "DLT_DATA_DIR": folder,
            "DLT_PROJECT_DIR": folder,
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "RUNTIME__LOG_LEVEL": "ERROR",
        }
        send_all(*sys.argv[1:5])
