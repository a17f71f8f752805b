"""From columns of events to JSON texts: the provider's limits checked, the time window kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from loader.jsontext import obj, to_the_second
from loader.providers.base import Check, Encoded, LateEvents, Window, written
from loader.rejection import ROW, SCHEMA, empty, reject

# So many checks are made at once: those of thousands of properties would need as much memory as all their rows. Those
# that look at every event are made with its text, the others where they are needed.
TOGETHER = 500

__all__ = ["Coded", "LateEvents", "encode"]


@dataclass(frozen=True)
class Coded:
    """`events`: columns `row` UInt64, `id` String, `time` Int64 (microseconds since 1970 UTC; null where no window has
    to be kept when they are sent), `user` and `event` String (JSON texts). `rejected`: `rejection.SCHEMA`. `late`:
    events outside the window that nothing was decided about."""

    events: pl.DataFrame
    rejected: pl.DataFrame
    late: int


def encode(
    frame: pl.DataFrame, encoded: Encoded, window: Window | None, late_events: LateEvents, now: datetime
) -> Coded:
    """Check and encode a frame of events (the columns that `loader.mapping` describes) for one destination."""
    frame, rejected, late = _keep_window(frame, window, late_events, now)
    watched = window is not None and window.past is not None and "time" in frame.columns and late_events != "send"
    frame = frame.with_columns(to_the_second(frame.get_column(name)).alias(written(name)) for name in encoded.times)
    event = encoded.event if encoded.whole is None or not _whole_seconds(frame) else encoded.whole
    full = {name for name in frame.columns if frame.get_column(name).null_count() == 0}
    checks = dict(enumerate(encoded.checks))
    always = {at: check for at, check in list(checks.items())[:TOGETHER] if not check.from_bytes}
    result = (
        frame.lazy()
        .select(
            row=pl.col(ROW),
            id=pl.col("id") if "id" in frame.columns else pl.lit(None, pl.String),
            time=pl.col("time").dt.timestamp("us") if watched else pl.lit(None, pl.Int64),
            user=encoded.user,
            event=event if isinstance(event, pl.Expr) else obj(event, full),
            **_broken(always),
        )
        .collect(engine="in-memory")
    )
    longest = _longest(result, "event")
    needed = [
        at
        for at, check in checks.items()
        if check.from_bytes <= (longest if check.texts is None else _longest(frame, check.texts))
    ]
    refusals = [rejected]
    failed = pl.repeat(False, len(result), eager=True)
    for first in range(0, len(needed), TOGETHER):
        some = needed[first : first + TOGETHER]
        masks = frame.lazy().select(**_broken({at: checks[at] for at in some if at not in always}))
        found = masks.collect(engine="in-memory") if set(some) - set(always) else result
        for at in some:
            mask = (result if at in always else found).get_column(f"broken{at}")
            if mask.any():
                check = checks[at]
                new = mask & ~failed
                refusals.append(reject(frame, new, check.reason, check.field, check.message, check.value, check.size))
                failed = failed | mask
    events = result.select("row", "id", "time", "user", "event")
    return Coded(events.filter(~failed) if failed.any() else events, pl.concat(refusals), late)


def _longest(frame: pl.DataFrame, column: str) -> int:
    """Bytes of the longest text of a column, -1 where there is none."""
    found = frame.get_column(column).str.len_bytes().max()
    return found if isinstance(found, int) else -1


def _broken(checks: Mapping[int, Check]) -> dict[str, pl.Expr]:
    return {f"broken{at}": check.broken.fill_null(False) for at, check in checks.items()}


def _whole_seconds(frame: pl.DataFrame) -> bool:
    """Whether no time has a fraction of a second."""
    times = [frame.get_column(name) for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    return all((time.dt.timestamp("us") % 1_000_000 == 0).all() for time in times)


def _keep_window(
    frame: pl.DataFrame, window: Window | None, late_events: LateEvents, now: datetime
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Apply `late_events` (design, "Destinations") to events outside the window."""
    if window is None or "time" not in frame.columns or late_events == "send":
        return frame, empty(), 0
    if window.past is None:
        outside = pl.col("time").is_not_null()
        words = "time: {value} cannot be told to the provider, which takes each event as happening when it arrives"
    else:
        earliest = now - timedelta(seconds=window.past - window.margin)
        times = frame.get_column("time")
        first, last = times.min(), times.max()
        if not (isinstance(first, datetime) and isinstance(last, datetime)) or earliest <= first <= last <= now:
            return frame, empty(), 0
        outside = (pl.col("time") < earliest) | (pl.col("time") > now)
        hours = f"{window.past / 3600:g} hours"
        words = f"time: {{value}} is not within the last {hours}, the only times that the provider accepts"
    mask = frame.select(outside).to_series()
    late = int(mask.sum() or 0)
    if late == 0:
        return frame, empty(), 0
    if late_events == "omit_time":
        return frame.with_columns(time=pl.when(~outside).then(pl.col("time"))), empty(), 0
    if late_events == "reject":
        return frame.filter(~mask), reject(frame, mask, "late", "time", words, pl.col("time")), 0
    return frame, pl.DataFrame(schema=SCHEMA), late
