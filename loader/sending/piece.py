"""A chunk on its way: its events in memory, fewer as some are rejected, two as it is halved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from loader.checkpoint import Pending
from loader.providers.envelope import Envelope


@dataclass(eq=False)
class Piece:
    """A chunk, or what halving left of it. `rows`, `events`: those that are still to be sent."""

    start: int
    number: int
    part: int
    planned: int  # events of the chunk, with those that were rejected since
    rows: list[int]
    users: tuple[int, int]  # the lowest and the highest of the numbers that stand for the chunk's users
    user: str | None  # the JSON text of the first event's user
    oldest: int | None  # the earliest time, in microseconds since 1970, where a window must be kept
    slice: Callable[[], pl.DataFrame]  # of its part, for the few pieces that are looked into
    attempts: int = 0
    doubted: bool = False  # it left before and its answer was not read: its events may have arrived
    body: bytes | None = None  # of exactly these events, where it was made ahead
    _events: pl.DataFrame | None = None

    @property
    def events(self) -> pl.DataFrame:
        """`plan.PART_SCHEMA`."""
        if self._events is None:
            self._events = self.slice()
        return self._events

    @property
    def refused(self) -> int:
        """Events of the chunk that were rejected since the plan was made."""
        return self.planned - len(self.rows)

    def shares_users(self, others: Iterable[Piece]) -> bool:
        """Whether it may hold events of a user of one of the `others`."""
        low, high = self.users
        for other in others:
            lowest, highest = other.users
            if lowest <= high and low <= highest:
                return True
        return False

    def drop(self, rows: set[int]) -> None:
        """Keep only the events of other rows than these."""
        self._keep(self.events.filter(~pl.col("row").is_in(sorted(rows))))

    def clear(self) -> None:
        """Keep no event."""
        self._keep(self.events.clear())

    def _keep(self, events: pl.DataFrame) -> None:
        for name, value in _of(events).items():
            setattr(self, name, value)

    def cut(self, left: int, planned: int) -> tuple[Piece, Piece]:
        """Two pieces: the first `left` of the events, which were the first `planned` of the chunk, and the others.

        The requests that left with both count as those of the first."""
        first = replace(self, planned=planned, **_of(self.events.slice(0, left)))
        start, others = self.start + planned, self.planned - planned
        rest = replace(self, start=start, planned=others, attempts=0, **_of(self.events.slice(left)))
        return first, rest


def _of(events: pl.DataFrame) -> dict[str, Any]:
    """What a piece of `events` knows of them."""
    return {
        "rows": events.get_column("row").to_list(),
        "user": events.item(0, "user") if len(events) else None,
        "oldest": events.get_column("time").min(),
        "body": None,
        "_events": events,
    }


class Part:
    """A part of the plan, ready to be sent: the bodies of its chunks are made all at once, beside the event loop."""

    def __init__(self, number: int, start: int, events: pl.DataFrame, envelope: Envelope) -> None:
        """`start`: position of the part's first event in the destination's plan. `events`: `plan.PART_SCHEMA`."""
        self.number, self._events, self._start = number, events, start
        self._rows = events.get_column("row").to_list()
        user, number_of = pl.col("user"), pl.col("user").hash()
        spans = events.lazy().group_by("chunk", maintain_order=True)
        found = spans.agg(
            pl.len(), number_of.min().alias("low"), number_of.max().alias("high"), user.first(), pl.col("time").min()
        ).collect(engine="in-memory")
        self._chunks = {number: (at, *rest) for at, (number, *rest) in enumerate(found.iter_rows())}
        self._bodies = envelope.bodies(events).get_column("body")

    def pieces(self, chunks: Sequence[Pending], refused_rows: set[int]) -> list[Piece]:
        """The events of some chunks, in order, without those of `refused_rows`."""
        at = [self._chunks[chunk.number][0] for chunk in chunks]
        # At once, which takes a fraction of the time; of few, for all would be in memory twice.
        bodies = self._bodies.slice(at[0], at[-1] - at[0] + 1).to_list()
        return [self._piece(chunk, bodies[own - at[0]], refused_rows) for own, chunk in zip(at, chunks, strict=True)]

    def _piece(self, chunk: Pending, body: bytes, refused_rows: set[int]) -> Piece:
        """`body`: of the whole chunk."""
        _, planned, low, high, user, oldest = self._chunks[chunk.number]
        events, first = chunk.events, chunk.start - self._start
        whole = planned == events
        piece = Piece(
            chunk.start,
            chunk.number,
            chunk.part,
            events,
            self._rows[first : first + events],
            (low, high),
            user,
            oldest,
            lambda: self._events.slice(first, events),
            chunk.attempts,
            chunk.doubted,
        )
        if chunk.refused:
            piece.drop(refused_rows)
        elif whole:
            piece.body = body
        else:
            # A half: what is known of the whole chunk does not hold for it.
            piece.drop(set())
        return piece
