"""A checkpoint with one run of one Batch destination, and its part on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from loader import checkpoint as record
from loader.checkpoint import Checkpoint
from loader.plan.parts import PART_SCHEMA, part_path, write_durably

RUN, NAME = "20260301T100000.000-abcdef", "batch"


def staged(folder: Path, chunks: list[dict[str, Any]], times: list[int] | None = None) -> Checkpoint:
    """A checkpoint with these chunks, one after the other; their events have the rows 1, 2, … and the ids `id1`, …"""
    events = sum(chunk["events"] for chunk in chunks)
    checkpoint = Checkpoint.open(folder, "load")
    start, rows = 0, []
    for number, chunk in enumerate(chunks, 1):
        place = {"start": start, "number": number, "part": 1, "first_row": start + 1}
        common = {"run": RUN, "destination": NAME, "attempts": 0, "refused": 0, "doubted": False, "token": None}
        rows.append({**common, **place, "last_row": start + chunk["events"], **chunk})
        start += chunk["events"]
    with checkpoint.writing() as connection:
        counts = {"rows_read": events, "rows_filtered": 0, "rows_rejected": 0, "events": events}
        connection.execute(sa.insert(record.runs).values(run=RUN, mapping="load", status="paused", **counts))
        values = {"provider": "batch", "route": "bulk", "in_doubt": "hold", "position": 0, "events": events}
        connection.execute(sa.insert(record.destinations).values(run=RUN, destination=NAME, rejected=0, **values))
        connection.execute(sa.insert(record.chunks), rows)
        ids = [{"destination": NAME, "id": f"id{row}", "run": RUN, "row": row} for row in range(1, events + 1)]
        connection.execute(sa.insert(record.ids), ids)
    part = pl.DataFrame(
        {
            "chunk": [row["number"] for row in rows for _ in range(row["events"])],
            "row": range(1, events + 1),
            "id": [f"id{row}" for row in range(1, events + 1)],
            "time": times or [None] * events,
            "user": [f'"u{row}"' for row in range(1, events + 1)],
            "event": ['{"name":"ue.x"}'] * events,
        },
        schema=PART_SCHEMA,
    )
    write_durably(part, part_path(folder / "runs" / RUN, NAME, 1))
    return checkpoint


def ids(checkpoint: Checkpoint) -> list[str]:
    """The ids that are taken."""
    with checkpoint.reading() as connection:
        return list(connection.scalars(sa.select(record.ids.c.id).order_by(record.ids.c.row)))
