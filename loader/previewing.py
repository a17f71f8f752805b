"""The first rows of a source and what they would become: nothing is kept or sent, no credentials are needed."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from loader.mapping import BoundDestination, StandIns, bind, read
from loader.plan import encode, record_of
from loader.rejection import ROW
from loader.sources import found_files, open_source


@dataclass(frozen=True)
class Reason:
    """Why a row makes no event, or an event does not go to a destination; see `rejection.SCHEMA`."""

    reason: str
    field: str | None
    value: str | None
    message: str


@dataclass(frozen=True)
class Payload:
    """What one destination would get of a row: the `body` of a request with this event alone, or why it gets none.

    `late`: why a plan with this event stops."""

    destination: str
    provider: str
    body: str | None
    rejected: Reason | None = None
    late: str | None = None


@dataclass(frozen=True)
class Row:
    """One row. `record`: the row as JSON text, or the raw line where it could not be read. `rejected`: by the source or
    `where:`; then there are no payloads."""

    number: int
    record: str
    payloads: tuple[Payload, ...] = ()
    rejected: Reason | None = None


@dataclass(frozen=True)
class Preview:
    """`rows`: the first ones that are not filtered, in order. `filtered`: rows before the last of them that are."""

    mapping: str
    rows: tuple[Row, ...]
    filtered: int


def preview(path: Path, number: int, *, stand_ins: StandIns | None = None) -> Preview:
    """The first `number` rows that are not filtered. Raises MappingError, SourceError and UsageError."""
    mapping = read(path, credentials="optional", stand_ins=stand_ins)
    rows: list[Row] = []
    filtered = 0
    used = mapping.used_columns()
    with (
        found_files(mapping.source) as inputs,
        closing(open_source(mapping.source, inputs, timezone=mapping.timezone, cursor=None, used=used)) as source,
    ):
        bound = bind(mapping, source.columns)
        now = datetime.now(UTC)
        for frame in source.frames():
            kept = bound.keep(frame.rows)
            first = kept.rows.head(number - len(rows))
            failed = frame.rows.filter(pl.col(ROW).is_in(kept.rejected.get_column("row").implode()))
            found = _rejected(kept.rejected, record_of(failed)) + _rejected(frame.rejected, frame.records)
            found += _mapped(first, [_payloads(destination, first, now) for destination in bound.destinations])
            taken = sorted(found, key=lambda row: row.number)[: number - len(rows)]
            rows += taken
            if len(rows) == number:
                # Row numbers have no gaps, so what is not shown before the last one was filtered.
                filtered = rows[-1].number - number
                break
            filtered += frame.filtered + kept.filtered
    return Preview(mapping.name, tuple(rows), filtered)


def _payloads(destination: BoundDestination, rows: pl.DataFrame, now: datetime) -> dict[int, Payload]:
    """Row number → what the destination would get of it."""
    route, provider = destination.destination.route, destination.destination.provider
    mapped = destination.events(rows)
    policy, encoded = destination.destination.settings.late_events, route.encode(destination.columns)
    coded = encode(mapped.events, encoded, route.window, "send" if policy == "stop" else policy, now)
    late = {}
    if policy == "stop":
        left_out = encode(mapped.events, encoded, route.window, "reject", now).rejected
        late = _reasons(left_out.filter(pl.col("reason") == "late"))
    found = {}
    for row, user, event in coded.events.select("row", "user", "event").iter_rows():
        body = route.envelope.body([user], [event]).decode()
        why = late[row].message if row in late else None
        found[row] = Payload(destination.destination.name, provider.name, body, late=why)
    for rejected in (mapped.rejected, coded.rejected):
        for row, reason in _reasons(rejected).items():
            found.setdefault(row, Payload(destination.destination.name, provider.name, None, reason))
    return found


def _mapped(rows: pl.DataFrame, payloads: list[dict[int, Payload]]) -> list[Row]:
    return [
        Row(number, record, tuple(of_destination[number] for of_destination in payloads))
        for number, record in record_of(rows).iter_rows()
    ]


def _rejected(rejected: pl.DataFrame, records: pl.DataFrame) -> list[Row]:
    texts = dict(records.select("row", "record").iter_rows())
    return [Row(number, texts.get(number, ""), (), reason) for number, reason in _reasons(rejected).items()]


def _reasons(rejected: pl.DataFrame) -> dict[int, Reason]:
    chosen = rejected.select("row", "reason", "field", "value", "message").iter_rows()
    return {row: Reason(reason, field, value, message) for row, reason, field, value, message in chosen}
