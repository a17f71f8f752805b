"""A chunk on its way: its events in memory, fewer as some are rejected, two as it is halved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass
class Piece:
    """A chunk, or what halving left of it: the events that are still to be sent."""

    start: int
    number: int
    part: int
    planned: int  # events of the chunk, with those that were rejected since
    first_row: int
    rows: list[int]
    times: list[int | None]
    users: list[bytes | None]
    events: list[bytes]
    attempts: int = 0
    doubted: bool = False  # it left before and its answer was not read: its events may have arrived
    body: bytes | None = None  # of exactly these events, where it was made ahead
    held: set[bytes | None] | None = None  # users that no other chunk may send meanwhile

    @property
    def refused(self) -> int:
        """Events of the chunk that were rejected since the plan was made."""
        return self.planned - len(self.rows)

    def keep(self, kept: Sequence[int]) -> None:
        """Keep the events at these positions."""
        for name in ("rows", "times", "users", "events"):
            values = getattr(self, name)
            setattr(self, name, [values[at] for at in kept])
        self.body = None

    def cut(self, left: int, planned: int) -> tuple[Piece, Piece]:
        """Two pieces: the first `left` of the events, which were the first `planned` of the chunk, and the others."""
        first = replace(self, planned=planned, **self._span(0, left))
        rest = replace(
            self, start=self.start + planned, planned=self.planned - planned, **self._span(left, len(self.rows))
        )
        rest.first_row = rest.rows[0]
        return first, rest

    def _span(self, start: int, end: int) -> dict[str, Any]:
        events = {name: getattr(self, name)[start:end] for name in ("rows", "times", "users", "events")}
        return {**events, "body": None, "held": None}
