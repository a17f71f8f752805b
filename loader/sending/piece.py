"""A chunk on its way: its events in memory, fewer as some are rejected, two as it is halved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from loader.providers.base import Envelope


@dataclass
class Piece:
    """A chunk, or what halving left of it. `events`: `plan.PART_SCHEMA`, those that are still to be sent."""

    start: int
    number: int
    part: int
    planned: int  # events of the chunk, with those that were rejected since
    events: pl.DataFrame
    rows: list[int]
    users: tuple[int, int]  # the lowest and the highest of the numbers that stand for the chunk's users
    attempts: int = 0
    doubted: bool = False  # it left before and its answer was not read: its events may have arrived
    body: bytes | None = None  # of exactly these events, where it was made ahead

    @property
    def refused(self) -> int:
        """Events of the chunk that were rejected since the plan was made."""
        return self.planned - len(self.rows)

    @property
    def user(self) -> str | None:
        """The JSON text of the first event's user."""
        found: str | None = self.events.item(0, "user")
        return found

    @property
    def oldest(self) -> int | None:
        """The earliest time of its events, in microseconds since 1970, where a window must be kept."""
        found: Any = self.events.get_column("time").min()
        return None if found is None else int(found)

    def shares_users(self, other: Piece) -> bool:
        """Whether both may hold events of the same user."""
        return self.users[0] <= other.users[1] and other.users[0] <= self.users[1]

    def drop(self, rows: set[int]) -> None:
        """Keep only the events of other rows than these."""
        self._keep(self.events.filter(~pl.col("row").is_in(sorted(rows))))

    def clear(self) -> None:
        """Keep no event."""
        self._keep(self.events.clear())

    def _keep(self, events: pl.DataFrame) -> None:
        self.events, self.rows, self.body = events, events.get_column("row").to_list(), None

    def cut(self, left: int, planned: int) -> tuple[Piece, Piece]:
        """Two pieces: the first `left` of the events, which were the first `planned` of the chunk, and the others."""
        first = replace(self, planned=planned, **_of(self.events.slice(0, left)))
        rest = replace(self, start=self.start + planned, planned=self.planned - planned, **_of(self.events.slice(left)))
        return first, rest


def _of(events: pl.DataFrame) -> dict[str, Any]:
    return {"events": events, "rows": events.get_column("row").to_list(), "body": None}


class Part:
    """A part of the plan, ready to be sent: the bodies of its chunks are made all at once, beside the event loop."""

    def __init__(self, number: int, start: int, events: pl.DataFrame, envelope: Envelope) -> None:
        """`start`: position of the part's first event in the destination's plan. `events`: `plan.PART_SCHEMA`."""
        self.number, self.events = number, events
        self._start = start
        user = pl.col("user").hash()
        spans = events.lazy().group_by("chunk", maintain_order=True)
        found = spans.agg(events=pl.len(), low=user.min(), high=user.max()).collect(engine="in-memory")
        self._chunks = {number: (at, *span) for at, (number, *span) in enumerate(found.iter_rows())}
        self._bodies = envelope.bodies(events).get_column("body")

    def piece(self, chunk: Any, refused_rows: set[int]) -> Piece:
        """The events of a chunk (a row of the checkpoint), without those of `refused_rows`."""
        at, planned, low, high = self._chunks[chunk["number"]]
        events = self.events.slice(chunk["start"] - self._start, chunk["events"])
        piece = Piece(
            chunk["start"],
            chunk["number"],
            chunk["part"],
            chunk["events"],
            events,
            events.get_column("row").to_list(),
            (low, high),
            chunk["attempts"],
            chunk["doubted"],
        )
        if chunk["refused"]:
            piece.drop(refused_rows)
        elif planned == chunk["events"]:
            piece.body = self._bodies[at]
        return piece
