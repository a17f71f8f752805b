"""The summary of a run: one screen, and the equation of promise 1 visible in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from loader.errors import Exit, LoaderError
from loader.rejection import REASONS
from loader.report.totals import RunTotals
from loader.report.words import command, duration, one_line, plural, table

STATUS = {
    "done": "done",
    "paused": "paused",
    "stopped": "stopped",
    "in_doubt": "finished, with chunks in doubt",
    "interrupted": "interrupted",
    "nothing_new": "nothing new to load",
    "cancelled": "cancelled",
}
_MOST_DOUBTS = 5


def summary(run: RunTotals, stopped: str | None = None) -> str:
    """What was read and what became of it. `stopped`: why the run ended early."""
    if run.run is None:
        return f"{run.mapping}: {STATUS[run.status]}"
    again = "" if run.of is None else f", which sends events of run {run.of} again"
    parts = [f"{run.mapping}: {STATUS[run.status]} (run {run.run}{again})", *equations(run)]
    if run.destinations:
        counted = [
            (d.name, plural(d.chunks, "chunk"), plural(d.requests, "request"), plural(d.tokens, "token"))
            for d in run.destinations
        ]
        parts.append("\n".join(table(counted, "<>>>")))
    sent = sum(d.events.sent for d in run.destinations)
    speed = f", {plural(round(sent / run.seconds), 'event')}/s" if sent and run.seconds else ""
    parts[-1] += f"\n{duration(run.seconds)}{speed}"
    if run.reasons:
        parts.append(rejections(run))
    if run.doubts:
        parts.append(doubts(run))
    if stopped is not None:
        parts.append(f"stopped: {stopped}")
    return "\n\n".join(parts)


def equations(run: RunTotals) -> list[str]:
    """Rows and events as sums that a person can check."""
    rows = {"rows": (run.rows.read, run.rows.filtered, run.rows.rejected, run.rows.events)}
    events = {
        d.name: (e.total, e.already_delivered, e.rejected, e.sent, e.in_doubt, e.pending)
        for d in run.destinations
        for e in [d.events]
    }
    width = max(len(name) for name in [*rows, *events])
    found = [_sums(width, ("read", "filtered", "rejected", "events"), rows)]
    if events:
        found.append(_sums(width, ("events", "already delivered", "rejected", "sent", "in doubt", "pending"), events))
    return found


def _sums(width: int, names: Sequence[str], lines: Mapping[str, Sequence[int]]) -> str:
    signs = ["", "=", *["+"] * (len(names) - 2)]
    cells = [["", *names], *([name, *(f"{number:,}" for number in numbers)] for name, numbers in lines.items())]
    widths = [width, *(max(len(row[at]) for row in cells) for at in range(1, len(names) + 1))]
    written = []
    for row in cells:
        text = f"{row[0]:<{widths[0]}}  "
        for at, sign in enumerate(signs, 1):
            text += (f" {sign} " if sign else "") + f"{row[at]:>{widths[at]}}"
        written.append(text)
    return "\n".join(written)


def rejections(run: RunTotals, example: Callable[[str, str], str | None] | None = None) -> str:
    """Rejections by reason with their meaning. `example`: destination (or '') and reason → one of them, in words."""
    ordered = sorted(run.reasons.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    rows = [
        (f"{count:,}", destination or "rows", reason, REASONS.get(reason, ""))
        for (destination, reason), count in ordered
    ]
    lines = ["rejected"]
    for (key, _), line in zip(ordered, table(rows, "><<<"), strict=True):
        lines.append(f"  {line}")
        shown = example(*key) if example is not None else None
        if shown is not None:
            lines.append(f"      {shown}")
    return "\n".join(lines)


def doubts(run: RunTotals) -> str:
    """Events in doubt and why, the most first."""
    rows = [(f"{count:,}", name, one_line(why)) for (name, why), count in run.doubts.items()]
    lines = [f"  {line}" for line in table(rows[:_MOST_DOUBTS], "><<")]
    more = len(rows) - _MOST_DOUBTS
    return "\n".join(["in doubt", *lines, *([f"  and for {plural(more, 'more reason')}"] if more > 0 else [])])


def next_step(
    run: RunTotals,
    mapping: Path | str,
    state: Path | None,
    error: LoaderError | None,
    *,
    doubts_left: bool,
    rejected: bool,
) -> str | None:
    """What is left to do: why, and on the last line the command. None: nothing is left.

    `doubts_left`: chunks of any run are in doubt. `rejected`: this command rejected something.
    """
    if error is not None and error.exit_code is Exit.TOO_MANY_REJECTED:
        return "to see the rejections:\n" + command("rejects", mapping, state=state)
    if run.pending or error is not None:
        return "to go on:\n" + command("run", mapping, state=state)
    if doubts_left:
        return (
            "events in doubt may or may not have arrived. To leave them as they are:\n"
            + command("resolve", mapping, "--skip", state=state)
            + "\nto send them again, perhaps for the second time:\n"
            + command("resolve", mapping, "--resend", state=state)
        )
    if rejected:
        return "to see the rejections, or to write the rows to a file:\n" + command("rejects", mapping, state=state)
    return None
