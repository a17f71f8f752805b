"""Runs of a mapping, oldest first, with their files and tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from loader.report.cursor import Position
from loader.report.summary import STATUS, doubts
from loader.report.totals import RunTotals
from loader.report.words import one_line, plural, table

# Runs that are shown, but for those with something left to do.
_NEWEST = 10


@dataclass(frozen=True)
class Ending:
    """How a command that sends ended. `at`: ISO 8601. `exit`: None for one that never did, or is under way."""

    at: str
    exit: int | None
    message: str | None

    @property
    def words(self) -> str:
        """The exit code and why."""
        if self.exit is None:
            return "it ended without a word: it was killed, or its machine went down"
        return f"exit {self.exit}" + (f": {one_line(self.message, 1000)}" if self.message else "")


@dataclass(frozen=True)
class History:
    """What the state of one mapping holds. `files`: run → paths and their rows. `holder`: who holds the state now.
    `last`: how the last command that sends ended. `stopped`: run → how its delivery ended, where it has something left.
    `all_runs`: whether all are shown. `pruned`: run → when its plan and rows were removed."""

    mapping: str
    runs: tuple[RunTotals, ...]
    cursor: Position | None = None
    files: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    holder: str | None = None
    folder: str | None = None
    last: Ending | None = None
    stopped: Mapping[str, Ending] = field(default_factory=dict)
    all_runs: bool = False
    pruned: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "mapping": self.mapping,
            "cursor": None if self.cursor is None else self.cursor.value,
            "last": None if self.last is None else asdict(self.last),
            "runs": [run.as_json() | self._pruned(run) for run in self.runs],
        }

    def _pruned(self, run: RunTotals) -> dict[str, str]:
        since = self.pruned.get(run.run or "")
        return {} if since is None else {"pruned": since}


def status(history: History) -> str:
    """One mapping."""
    lines = [history.mapping + (f" ({history.folder})" if history.folder else "")]
    if history.holder is not None:
        lines.append(f"held by {history.holder}")
    if history.cursor is not None:
        by = "set by hand" if history.cursor.run is None else f"by run {history.cursor.run}"
        lines.append(f"cursor of {history.cursor.column}: {history.cursor.words}, {by}")
    if history.last is not None and history.holder is None:
        # What stopped a run stands there.
        there = any(ending.message == history.last.message for ending in history.stopped.values())
        words = f"exit {history.last.exit}" if there and history.last.exit is not None else history.last.words
        lines.append(f"last run: {history.last.at}, {words}")
    if not history.runs:
        lines.append("no runs")
    shown = [
        run for run in history.runs if history.all_runs or run.pending or run.in_doubt or run in history.runs[-_NEWEST:]
    ]
    if len(shown) < len(history.runs):
        lines += ["", f"{plural(len(history.runs) - len(shown), 'earlier run')}, which --all shows"]
    for run in shown:
        word = "under way" if history.holder and run.pending else STATUS.get(run.status, run.status)
        again = "" if run.of is None else f", events of run {run.of} again"
        lines += ["", f"{run.run}  {run.created}  {word}{again}"]
        rows = [("rows", _counts(**vars(run.rows)))]
        for d in run.destinations:
            e = d.events
            counts = {"already delivered": e.already_delivered, "rejected": e.rejected, "sent": e.sent}
            rows.append((d.name, _counts(**counts, **{"in doubt": e.in_doubt, "pending": e.pending})))
        lines += [f"  {line}" for line in table(rows, "<<")]
        lines += [f"  {line}" for line in doubts(run).splitlines()] if run.doubts else []
        stopped = history.stopped.get(run.run or "")
        if history.holder is None and stopped is not None:
            lines.append(f"  {stopped.at}: {stopped.words}")
        lines += [f"  file {path}, {plural(count, 'row')}" for path, count in history.files.get(run.run or "", ())]
        since = history.pruned.get(run.run or "")
        if since is not None:
            lines.append(f"  pruned on {since[:10]}: the rows are gone; ids, tokens and totals are kept")
    return "\n".join(lines)


def _counts(**numbers: int) -> str:
    """Those that are not zero."""
    found = ", ".join(f"{number:,} {what}" for what, number in numbers.items() if number)
    return found or "none"


def tokens(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line per chunk that has a token. Keys: run, destination, chunk, first_row, last_row, events, token, time."""
    if not rows:
        return "no tokens"
    cells = [("run", "destination", "chunk", "among rows", "events", "token", "time")]
    cells += [
        (
            row["run"],
            row["destination"],
            str(row["chunk"]),
            f"{row['first_row']}-{row['last_row']}",
            str(row["events"]),
            row["token"],
            row["time"],
        )
        for row in rows
    ]
    return "\n".join(table(cells, "<<>>><<"))
