"""Times at the edges of a provider's window: what could only be rejected when sent is late in the plan already."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from loader.plan import LateEvents, encode
from loader.providers.base import Encoded, Window
from loader.rejection import ROW

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = Window(3600, "page", margin=60)
# Seconds before now, and whether the event is inside.
TIMES = {-1: False, 0: True, 1: True, 3539: True, 3540: True, 3541: False, 3600: False, 3601: False}


def coded(late_events: LateEvents) -> tuple[list[int], list[int | None], list[int], int]:
    frame = pl.DataFrame(
        {ROW: list(range(len(TIMES))), "time": [NOW - timedelta(seconds=ago) for ago in TIMES]},
        schema={ROW: pl.UInt64, "time": pl.Datetime("us", "UTC")},
    )
    members = [("omitted", pl.col("time").is_null().cast(pl.String))]
    found = encode(frame, Encoded(members, pl.lit(None, pl.String)), HOUR, late_events, NOW)
    times = [None if event == '{"omitted":true}' else 0 for event in found.events["event"]]
    return found.events["row"].to_list(), times, found.rejected["row"].to_list(), found.late


INSIDE = [row for row, inside in enumerate(TIMES.values()) if inside]
OUTSIDE = [row for row, inside in enumerate(TIMES.values()) if not inside]


@pytest.mark.parametrize(
    ("late_events", "sent", "rejected", "late"),
    [
        ("reject", INSIDE, OUTSIDE, 0),
        ("omit_time", list(range(8)), [], 0),
        ("send", list(range(8)), [], 0),
        ("stop", list(range(8)), [], 4),
    ],
)
def test_the_edges(late_events: LateEvents, sent: list[int], rejected: list[int], late: int) -> None:
    rows, times, refused, counted = coded(late_events)
    assert (rows, refused, counted) == (sent, rejected, late)
    without = OUTSIDE if late_events == "omit_time" else []
    assert [row for row, time in zip(rows, times, strict=True) if time is None] == without
