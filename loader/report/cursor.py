"""Where a cursor stands, and what it means to move it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader.report.words import command, duration


@dataclass(frozen=True)
class Position:
    """Where a cursor stands. `value`: see `settings.cursor_to_text`, None for nowhere yet. `run`: the one that moved
    it, None for somebody. `changed`: ISO 8601. `initial`, `lag`: the mapping's."""

    column: str
    value: str | None
    run: str | None
    changed: str | None
    initial: str | None
    lag: float | None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        shown = {"column": self.column, "cursor": self.value, "run": self.run, "changed": self.changed}
        return {**shown, "initial": self.initial, "lag": self.lag}

    @property
    def words(self) -> str:
        """The value and its type."""
        if self.value is None:
            return "nowhere yet" if self.initial is None else f"nowhere yet (initial: {self.initial})"
        kind, _, value = self.value.partition(" ")
        return f"{value} ({kind})"


@dataclass(frozen=True)
class Move:
    """A cursor that was moved by hand. `direction`: -1 back, 1 forward, 0 neither. `ids`: whether each event has an id.
    `files`: whether the source is files. `unfinished`: the run that is to be finished first."""

    before: Position
    after: Position
    direction: int
    ids: bool
    files: bool
    unfinished: str | None


def standing(name: str, position: Position) -> str:
    """For `loader cursor`."""
    lines = [f"{name}: the cursor of {position.column} stands {_at(position)}{position.words}", *_by(position)]
    return "\n".join([*lines, _next(position)])


def moved(name: str, move: Move, mapping: Path, state: Path | None) -> str:
    """For `loader cursor --set` and `--clear`."""
    before, after = move.before, move.after
    lines = [
        f"{name}: the cursor of {after.column} was moved by hand",
        f"  before  {before.words}" + (f", of {before.column}" if before.column != after.column else ""),
        f"  now     {after.words}",
        _next(after),
    ]
    if move.direction < 0:
        rows = "rows above it that were taken before are read again"
        if move.ids:
            lines.append(f"{rows}; events whose id was delivered are not sent again")
        else:
            lines.append(f"{rows}, and their events are SENT AGAIN: the mapping gives them no `id`")
    if move.direction > 0:
        lines.append("rows between the two values are not taken any more")
    if move.files:
        lines.append("files that were loaded stay loaded; --again reads them once more")
    if move.unfinished is not None:
        lines.append(f"run {move.unfinished} is not finished: it is delivered first, as it was planned")
        following = ["to deliver it, and take what is new:", command("run", mapping, state=state)]
    else:
        following = ["to see what the next run takes, without sending:", command("plan", mapping, state=state)]
    return "\n".join([*lines, "", *following])


def _at(position: Position) -> str:
    return "" if position.value is None else "at "


def _by(position: Position) -> list[str]:
    if position.changed is None:
        return []
    return [f"since {position.changed}, " + ("set by hand" if position.run is None else f"by run {position.run}")]


def _next(position: Position) -> str:
    if position.value is None:
        return "the next run " + ("takes all rows" if position.initial is None else "starts above `initial`")
    if position.lag is None:
        return "the next run takes rows above it"
    kind = position.value.partition(" ")[0]
    reach = duration(position.lag) if kind in ("datetime", "date") else f"{position.lag:g}"
    return f"the next run takes rows above it, and again those down to {reach} below it (lag)"
