"""One destination's side of a plan: frames of events in, chunks in parts on disk out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

import polars as pl

from loader.plan.background import Background
from loader.plan.chunking import Room, chunk_ends
from loader.plan.encoding import encode
from loader.plan.parts import PART_SCHEMA, part_path, write_durably
from loader.providers.base import DestinationSettings, Route
from loader.rejection import ROW, reject

# A part is closed when it holds this many events or bytes: the bound of memory in planning and in sending.
PART_EVENTS = 100_000
PART_BYTES = 32_000_000


class Ids(Protocol):
    """The `event.id`s that this destination's plans have taken."""

    def known(self, ids: pl.Series) -> pl.Series:
        """For each id the run that took it, or null (String)."""

    def take(self, ids: pl.Series, rows: pl.Series) -> None:
        """Take the ids for this run."""


@dataclass(frozen=True)
class StagedChunk:
    """One chunk of the plan. `start`: position of its first event in the destination's plan, from 0."""

    number: int
    start: int
    events: int
    part: int
    first_row: int
    last_row: int


@dataclass
class Staged:
    """What a plan found for one destination. `events` counts all that reached it; `bytes`: of the requests' bodies;
    `digest`: SHA-256 of all events, where it was asked for."""

    events: int = 0
    already_delivered: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    late: int = 0
    bytes: int = 0
    chunks: list[StagedChunk] = field(default_factory=list)
    digest: str = ""


class Stager:
    """Stages the events of one destination. `add` every frame in order, then `finish`."""

    def __init__(
        self,
        name: str,
        route: Route,
        settings: DestinationSettings,
        columns: Mapping[str, pl.DataType],
        run_folder: Path,
        run: str,
        ids: Ids | None,
        now: datetime,
        background: Background,
        *,
        digest: bool = False,
    ) -> None:
        self.staged = Staged()
        self._name, self._route, self._settings, self._now = name, route, settings, now
        self._encoded = route.encode(columns)
        self._room = Room.of(route, settings.chunk)
        self._folder, self._run, self._ids = run_folder, run, ids
        self._background = background
        self._open = pl.DataFrame(schema={key: PART_SCHEMA[key] for key in ("row", "id", "time", "user", "event")})
        self._closed: list[pl.DataFrame] = []
        self._closed_events = self._closed_bytes = 0
        self._parts = 0
        self._positions = 0
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
        self._cut(frame, last=False)
        found = pl.concat(rejected)
        self._count(found)
        return found

    def finish(self) -> None:
        """Close the last chunk and part. All of `staged` is known when the background has finished."""
        self._cut(self._open.clear(), last=True)
        self._close_part()

    def _count(self, rejected: pl.DataFrame) -> None:
        for reason, count in rejected.group_by("reason").len().iter_rows():
            self.staged.rejected[reason] += count

    def _first_of_each_id(self, frame: pl.DataFrame, taken_rows: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
        ids = frame.get_column("id")
        again = ids.is_not_null() & (~ids.is_first_distinct() | frame.get_column("row").is_in(taken_rows.implode()))
        words = "id: another event of this plan has the id '{value}' already"
        return frame.filter(~again), reject(
            frame.rename({"row": ROW}), again, "duplicate_id", "id", words, pl.col("id")
        )

    def _cut(self, frame: pl.DataFrame, *, last: bool) -> None:
        """Cut full chunks off the open events and `frame`; the rest stays open unless this is the `last` call."""
        waiting = pl.concat([self._open, frame]) if len(self._open) else frame
        if len(waiting) == 0:
            return
        sizes = waiting.get_column("event").bin.size().to_list()
        users = waiting.get_column("user").to_list() if self._room.bytes and self._room.user_envelope else []
        ends = chunk_ends(sizes, users, self._room)
        if not last:
            ends.pop()
        done = ends[-1] if ends else 0
        self._open = waiting.slice(done).rechunk()
        if done == 0:
            return
        rows = waiting.get_column("row")
        starts = [0, *ends[:-1]]
        numbers = []
        for start, end in zip(starts, ends, strict=True):
            number = len(self.staged.chunks) + 1
            chunk = StagedChunk(
                number, self._positions + start, end - start, self._parts + 1, rows[start], rows[end - 1]
            )
            self.staged.chunks.append(chunk)
            numbers.append(number)
        lengths = [end - start for start, end in zip(starts, ends, strict=True)]
        column = pl.Series("chunk", numbers, dtype=pl.UInt32).repeat_by(pl.Series(lengths)).explode()
        closed = waiting.slice(0, done).select(column, *self._open.columns)
        self._positions += done
        self._closed.append(closed)
        self._closed_events += done
        self._closed_bytes += sum(sizes[:done])
        if self._closed_events >= PART_EVENTS or self._closed_bytes >= PART_BYTES:
            self._close_part()

    def _close_part(self) -> None:
        if not self._closed:
            return
        self._parts += 1
        self._background.do(self._write_part, self._closed, part_path(self._folder, self._name, self._parts))
        self._closed, self._closed_events, self._closed_bytes = [], 0, 0

    def _write_part(self, frames: list[pl.DataFrame], path: Path) -> None:
        """Runs in the background, for one part after the other."""
        part = pl.concat(frames)
        self.staged.bytes += self._body_bytes(part)
        if self._digest is not None:
            self._digest.update(b"\n".join(part.get_column("event").to_list()))
            self.staged.digest = self._digest.hexdigest()
        write_durably(part, path)

    def _body_bytes(self, part: pl.DataFrame) -> int:
        """Bytes of the bodies of a part's chunks; a user's envelope is paid once per chunk."""
        chunks = part.get_column("chunk").n_unique()
        total = int(part.get_column("event").bin.size().sum()) + len(part) - chunks + chunks * self._room.envelope
        if self._room.user_envelope is not None:
            groups = part.select("chunk", "user").unique()
            users = int(groups.get_column("user").bin.size().sum())
            # Between two events of one user, and between two users, stands one comma all the same.
            total += users + len(groups) * self._room.user_envelope
        return total
