"""`loader resolve`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
from sqlalchemy.engine import RowMapping

from loader.checkpoint import Checkpoint
from loader.cli.options import HELD, exits, json_option, mapping_argument, run_option, state_option
from loader.cli.output import show, show_json
from loader.cli.stored import existing, runs_of
from loader.errors import UsageError
from loader.plan import open_part
from loader.report.words import command as command_words
from loader.report.words import plural
from loader.sending import resend, skip
from loader.state import hold, run_folder

MOST_RANGES = 10


@click.command(
    "resolve",
    epilog=exits("0  decided, or nothing was in doubt", "2  there is no such run, or the plan is damaged", HELD),
)
@mapping_argument()
@click.option("--resend", "again", is_flag=True, help="Send them again at the next run, perhaps for the second time.")
@click.option("--skip", "leave", is_flag=True, help="Leave them: rejected as `skipped`, not sent again.")
@run_option
@state_option
@json_option
def command(*, mapping: Path, again: bool, leave: bool, run: str | None, state: Path | None, as_json: bool) -> None:
    """Decide about chunks in doubt.

    They left and their answer was never read: their events may have arrived or not. Look them up at the provider, then
    choose one of --resend and --skip.
    """
    if again == leave:
        raise UsageError("give one of --resend (send them again, perhaps twice) and --skip (leave them as they are)")
    found: dict[str, list[RowMapping]] = {}
    pending = False
    checkpoint, folder = existing(mapping, state)
    if checkpoint is not None:
        with hold(folder):
            checkpoint.claim(mapping.absolute())
            unfinished = checkpoint.unfinished()
            if unfinished is not None:
                checkpoint.doubt_what_was_in_flight(unfinished["run"])
            asked = runs_of(checkpoint, run)
            for name in [name for name in checkpoint.in_doubt() if name in asked]:
                found[name] = checkpoint.chunks_of(name, None, ["in_doubt"])
                if again:
                    resend(checkpoint, name)
                else:
                    skip(checkpoint, name, None, partial(open_part, run_folder(folder, name)))
                    _finish(checkpoint, name)
            pending = checkpoint.unfinished() is not None
        checkpoint.close()
    elif run is not None:
        runs_of(None, run)
    decision = "resend" if again else "skip"
    if as_json:
        show_json({"mapping": mapping.stem, "decision": decision, "runs": [_as_json(*item) for item in found.items()]})
        return
    lines = [line for name, chunks in found.items() for line in _words(name, chunks, again=again)]
    show("\n".join(lines) or "nothing is in doubt")
    if pending:
        show("\nto go on:\n" + command_words("run", mapping, state=state))


def _finish(checkpoint: Checkpoint, run: str) -> None:
    """Set the status of a run that has nothing in doubt any more; one with pending events stays as it is."""
    if not checkpoint.chunks_of(run, None, ["pending"]):
        checkpoint.set_status(run, "done", datetime.now(UTC).isoformat(timespec="seconds"))


def _by_destination(chunks: Sequence[RowMapping]) -> dict[str, list[RowMapping]]:
    found: dict[str, list[RowMapping]] = {}
    for chunk in chunks:
        found.setdefault(chunk["destination"], []).append(chunk)
    return found


def _events(chunks: Sequence[RowMapping]) -> int:
    return sum(chunk["events"] - chunk["refused"] for chunk in chunks)


def _words(run: str, chunks: Sequence[RowMapping], *, again: bool) -> list[str]:
    lines = []
    for destination, own in _by_destination(chunks).items():
        ranges = ", ".join(f"{chunk['first_row']:,} to {chunk['last_row']:,}" for chunk in own[:MOST_RANGES])
        more = f" and {plural(len(own) - MOST_RANGES, 'more chunk')}" if len(own) > MOST_RANGES else ""
        what = "will be sent again" if again else "left as they are, rejected as skipped"
        lines.append(
            f"run {run}, {destination}: {plural(len(own), 'chunk')} with {plural(_events(own), 'event')} {what}"
            f" (among rows {ranges}{more})"
        )
    return lines


def _as_json(run: str, chunks: Sequence[RowMapping]) -> dict[str, Any]:
    return {
        "run": run,
        "destinations": [
            {
                "name": destination,
                "chunks": len(own),
                "events": _events(own),
                "among_rows": [[chunk["first_row"], chunk["last_row"]] for chunk in own],
            }
            for destination, own in _by_destination(chunks).items()
        ],
    }
