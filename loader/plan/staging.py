"""One destination's side of a plan: frames of events in, chunks in parts on disk out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import polars as pl
from sqlalchemy.engine import Connection

from loader.plan.background import Background
from loader.plan.chunking import Room, chunk_ends
from loader.plan.encoding import encode
from loader.plan.parts import PART_SCHEMA, part_path, write_durably
from loader.providers.base import DestinationSettings, Encoded, Route
from loader.rejection import ROW, reject

# A part holds at most this many events, and ends with the event that reaches this many bytes: the bound of memory in
# planning and in sending.
PART_EVENTS = 50_000
PART_BYTES = 32_000_000


class Ids(Protocol):
    """The `event.id`s that this destination's plans have taken."""

    def known(self, ids: pl.Series) -> pl.Series:
        """For each id the run that took it, or null (String)."""

    def take(self, ids: pl.Series, rows: pl.Series) -> None:
        """Take the ids for this run."""


_EVENTS = {name: dtype for name, dtype in PART_SCHEMA.items() if name != "chunk"}

# `start`: position of the chunk's first event in the destination's plan, from 0. `first_row`, `last_row`: the lowest
# and the highest number of its rows.
CHUNK_SCHEMA: dict[str, pl.DataType] = {
    "number": pl.UInt32(),
    "start": pl.UInt64(),
    "events": pl.UInt64(),
    "part": pl.UInt32(),
    "first_row": pl.UInt64(),
    "last_row": pl.UInt64(),
}


@dataclass
class Staged:
    """What a plan found for one destination. `events` counts all that reached it; `bytes`: of the requests' bodies;
    `chunks`: frames of `CHUNK_SCHEMA`; `digest`: SHA-256 of all events, where it was asked for."""

    events: int = 0
    already_delivered: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    late: int = 0
    bytes: int = 0
    chunks: list[pl.DataFrame] = field(default_factory=list)
    digest: str = ""


class Stager:
    """Stages the events of one destination. `add` every frame in order, then `finish`."""

    def __init__(
        self,
        name: str,
        route: Route,
        settings: DestinationSettings,
        encoded: Encoded | None,
        run_folder: Path,
        run: str,
        ids: Ids | None,
        now: datetime,
        background: Background,
        *,
        digest: bool = False,
    ) -> None:
        """`encoded`: the route's, for `add`; None where only events are added that are encoded already."""
        self.staged = Staged()
        self._name, self._route, self._settings, self._now = name, route, settings, now
        self._encoded = encoded
        self._room = Room.of(route, settings.chunk)
        self._folder, self._run, self._ids = run_folder, run, ids
        self._background = background
        # Events that wait until their part is full, and, in the background, those of a chunk that is not.
        self._waiting: list[pl.DataFrame] = []
        self._waiting_events = self._waiting_bytes = 0
        self._open = pl.DataFrame(schema=_EVENTS)
        self._parts = self._chunks = self._positions = 0
        # A chunk does not span two parts: full parts of a whole number of full chunks leave none half empty.
        self._part_events = max(1, PART_EVENTS // self._room.events) * self._room.events
        self._by_user = keeps_users_together(route)
        self._digest = hashlib.sha256() if digest else None
        self.staged.digest = self._digest.hexdigest() if self._digest else ""

    def skip(self, events: int) -> None:
        """Count events of a file that was delivered to this destination before."""
        self.staged.events += events
        self.staged.already_delivered += events

    def refuse(self, rejected: pl.DataFrame) -> None:
        """Count events that this destination's own part of the mapping could not make (`rejection.SCHEMA`)."""
        self.staged.events += len(rejected)
        self._count(rejected)

    def add(self, events: pl.DataFrame) -> pl.DataFrame:
        """Stage a frame of events (columns as `loader.mapping` describes them); its rejections (`rejection.SCHEMA`)."""
        assert self._encoded is not None
        self.staged.events += len(events)
        taken_here = None
        if self._ids is not None and len(events):
            runs = self._ids.known(events.get_column("id"))
            delivered = (runs.is_not_null() & (runs != self._run)).fill_null(False)
            self.staged.already_delivered += int(delivered.sum() or 0)
            taken_here = (runs == self._run).fill_null(False).filter(~delivered)
            events = events.filter(~delivered)
        coded = encode(events, self._encoded, self._route.window, self._settings.late_events, self._now)
        self.staged.late += coded.late
        rejected = [coded.rejected]
        frame = coded.events
        if self._ids is not None and taken_here is not None and len(frame):
            frame, doubled = self._first_of_each_id(frame, events.filter(taken_here).get_column(ROW))
            rejected.append(doubled)
            self._ids.take(frame.get_column("id"), frame.get_column("row"))
        self._wait(frame)
        found = pl.concat(rejected)
        self._count(found)
        return found

    def add_encoded(self, events: pl.DataFrame) -> None:
        """Stage events of an earlier plan (`PART_SCHEMA` without `chunk`), but for those delivered meanwhile."""
        self.staged.events += len(events)
        if self._ids is not None and len(events):
            delivered = self._ids.known(events.get_column("id")).is_not_null()
            self.staged.already_delivered += int(delivered.sum() or 0)
            events = events.filter(~delivered)
            self._ids.take(events.get_column("id"), events.get_column("row"))
        self._wait(events)

    def finish(self) -> None:
        """Close the last chunk and part. All of `staged` is known when the background has finished."""
        waiting = pl.concat(self._waiting) if self._waiting else pl.DataFrame(schema=_EVENTS)
        self._background.do(self._write_part, waiting, True)

    def _count(self, rejected: pl.DataFrame) -> None:
        if not len(rejected):
            return
        for reason, count in rejected.group_by("reason", maintain_order=True).len().iter_rows():
            self.staged.rejected[reason] += count

    def _first_of_each_id(self, frame: pl.DataFrame, taken_rows: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
        ids = frame.get_column("id")
        again = ids.is_not_null() & (~ids.is_first_distinct() | frame.get_column("row").is_in(taken_rows.implode()))
        words = "id: another event of this plan has the id '{value}' already"
        return frame.filter(~again), reject(
            frame.rename({"row": ROW}), again, "duplicate_id", "id", words, pl.col("id")
        )

    def _wait(self, events: pl.DataFrame) -> None:
        """Let `events` wait; where a part ends depends on the events alone, not on the frames they came in."""
        self._waiting.append(events)
        self._waiting_events += len(events)
        self._waiting_bytes += int(events.get_column("event").str.len_bytes().sum())
        while self._waiting_events >= self._part_events or self._waiting_bytes >= PART_BYTES:
            waiting = pl.concat(self._waiting)
            filled = waiting.get_column("event").str.len_bytes().cast(pl.UInt64).cum_sum()
            end = min(self._part_events, int(filled.search_sorted(PART_BYTES, "left")) + 1)
            self._background.do(self._write_part, waiting.slice(0, end), False)
            rest = waiting.slice(end)
            self._waiting, self._waiting_events = [rest], len(rest)
            self._waiting_bytes = int(rest.get_column("event").str.len_bytes().sum())

    def _write_part(self, events: pl.DataFrame, last: bool) -> None:
        """Cut `events` into chunks and write them. Runs in the background, for one part after the other."""
        if self._by_user:
            events = by_user(events)
        elif len(self._open):
            events = pl.concat([self._open, events])
        sizes = events.get_column("event").str.len_bytes().to_list()
        users = events.get_column("user").to_list() if self._room.by_users else []
        ends = chunk_ends(sizes, users, self._room)
        if not (self._by_user or last):
            # More events may fit into the last chunk.
            ends.pop()
            self._open = events.slice(ends[-1] if ends else 0)
        if not ends:
            return
        self._parts += 1
        lengths = pl.Series([end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)])
        numbers = pl.int_range(self._chunks + 1, self._chunks + len(ends) + 1, dtype=pl.UInt32, eager=True)
        # In order, and known to be: grouping by them takes a fifth of the time.
        chunk = numbers.repeat_by(lengths).explode().set_sorted().alias("chunk")
        part = events.slice(0, ends[-1]).select(chunk, pl.all())
        self.staged.chunks.append(self._chunks_of(part))
        self._chunks += len(ends)
        self._positions += len(part)
        self.staged.bytes += self._body_bytes(part)
        if self._digest is not None:
            self._digest.update(part.select(pl.col("event").str.join("\n").cast(pl.Binary)).item())
            self.staged.digest = self._digest.hexdigest()
        write_durably(part, part_path(self._folder, self._name, self._parts))

    def _chunks_of(self, part: pl.DataFrame) -> pl.DataFrame:
        """`CHUNK_SCHEMA` for the chunks of a part."""
        rows = pl.col("row")
        found = part.lazy().group_by("chunk", maintain_order=True)
        return (
            found.agg(events=pl.len(), first_row=rows.min(), last_row=rows.max())
            .with_columns(
                number="chunk", part=pl.lit(self._parts), start=pl.col("events").cum_sum().shift(1, fill_value=0)
            )
            .with_columns(pl.col("start") + self._positions)
            .select(pl.col(name).cast(dtype) for name, dtype in CHUNK_SCHEMA.items())
            .collect(engine="in-memory")
        )

    def _body_bytes(self, part: pl.DataFrame) -> int:
        """Bytes of the bodies of a part's chunks; a user's envelope is paid once per chunk."""
        chunks = part.get_column("chunk").n_unique()
        total = int(part.get_column("event").str.len_bytes().sum()) + len(part) - chunks + chunks * self._room.envelope
        if self._room.user_envelope is not None:
            chunk, user = pl.col("chunk"), pl.col("user")
            first = chunk.ne_missing(chunk.shift(1)) | user.ne_missing(user.shift(1))
            users, groups = part.select(user.str.len_bytes().filter(first).sum(), first.sum().alias("groups")).row(0)
            # Between two events of one user, and between two users, stands one comma all the same.
            total += users + groups * self._room.user_envelope
        return total


def commit_chunks(connection: Connection, run: str, destination: str, chunks: Sequence[pl.DataFrame]) -> None:
    """Write the chunks of a plan (frames of `CHUNK_SCHEMA`), all pending."""
    new = {"run": run, "destination": destination, "status": "pending", "doubted": 0, "attempts": 0, "refused": 0}
    names = [*CHUNK_SCHEMA, *new]
    statement = f"INSERT INTO chunks ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - no values
    # By the driver itself: SQLAlchemy takes longer for a chunk of one event than all of planning.
    driver: Any = connection.connection.driver_connection
    for frame in chunks:
        rows = frame.with_columns(pl.lit(value).alias(name) for name, value in new.items())
        driver.executemany(statement, rows.select(names).iter_rows())


def keeps_users_together(route: Route) -> bool:
    """Whether the plan for a route holds each user's events together, see `by_user`."""
    return route.ordered or route.envelope.user is not None or route.users_per_call is not None


def by_user(events: pl.DataFrame) -> pl.DataFrame:
    """The events of each user together, in their order; users in the order of a number made of their names.

    So the chunks of a part share at most a user with their neighbours, and travel side by side although a user's events
    must not overtake each other.
    """
    numbered = events.with_columns(_user=pl.col("user").hash()).sort("_user", maintain_order=True)
    number, user = pl.col("_user"), pl.col("user")
    mixed = (number == number.shift(1)) & user.ne_missing(user.shift(1))
    if numbered.select(mixed.any()).item():
        numbered = numbered.sort("_user", "user", maintain_order=True)
    return numbered.drop("_user")
