"""Runs of a mapping, oldest first, with their files and tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loader.report.summary import STATUS, doubts
from loader.report.totals import RunTotals
from loader.report.words import plural, table


@dataclass(frozen=True)
class History:
    """What the state of one mapping holds. `cursor`: the value as text. `files`: run → paths and their rows.
    `holder`: who holds the state now. `pruned`: run → when its plan and rows were removed."""

    mapping: str
    runs: tuple[RunTotals, ...]
    cursor: str | None = None
    files: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    holder: str | None = None
    folder: str | None = None
    pruned: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        runs = [run.as_json() | self._pruned(run) for run in self.runs]
        return {"mapping": self.mapping, "cursor": self.cursor, "runs": runs}

    def _pruned(self, run: RunTotals) -> dict[str, str]:
        since = self.pruned.get(run.run or "")
        return {} if since is None else {"pruned": since}


def status(history: History) -> str:
    """One mapping."""
    lines = [history.mapping + (f" ({history.folder})" if history.folder else "")]
    if history.holder is not None:
        lines.append(f"held by {history.holder}")
    if history.cursor is not None:
        lines.append(f"cursor: {history.cursor}")
    if not history.runs:
        lines.append("no runs")
    for run in history.runs:
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
