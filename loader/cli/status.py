"""`loader status`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import click

from loader.checkpoint import FINISHED, Checkpoint, Row
from loader.cli.options import exits, json_option, mapping_argument, state_option
from loader.cli.output import show, show_json
from loader.errors import DoesNotAddUp, Exit
from loader.plan import audit, pruned
from loader.report.cursor import Position
from loader.report.status import Ending, History, status
from loader.report.summary import next_step
from loader.report.totals import RunTotals, totals
from loader.report.words import command as command_words
from loader.state import holder, run_folder, state_folder

_TRIES = 50


@click.command(
    "status", epilog=exits("0  shown", "1  the numbers of a run contradict each other", "2  the state cannot be read")
)
@mapping_argument(required=False)
@state_option
@json_option
@click.option("--all", "all_runs", is_flag=True, help="All runs, not only the newest and those with something left.")
def command(mapping: Path | None, state: Path | None, as_json: bool, all_runs: bool) -> None:
    """Show runs, files and cursors.

    How the last run ended, and what to do next.

    Without MAPPING: of all mappings whose state is under --state, LOADER_STATE, or .loader here and in mappings/.
    May be used while a run is under way.
    """
    if mapping is not None:
        history = _history(state_folder(mapping.absolute(), state), mapping.stem, all_runs=all_runs)
        if as_json:
            show_json(history.as_json())
            return
        show("\n\n".join([status(history), *_following(history, mapping, state)]))
        return
    found = [_history(folder, folder.name, shown=True, all_runs=all_runs) for folder in _folders(state)]
    if as_json:
        show_json({"mappings": [history.as_json() for history in found]})
    else:
        show("\n\n".join(status(history) for history in found) or "no runs found")


def _following(history: History, mapping: Path, state: Path | None) -> list[str]:
    """What is left to do, unless somebody is at it: in one of the runs, the oldest that has something left first."""
    left = [run for run in history.runs if run.pending] or [run for run in history.runs if run.in_doubt]
    if history.holder is not None:
        return []
    if not left:
        failed = history.last is not None and history.last.exit not in (Exit.DONE, Exit.REJECTED, Exit.IN_DOUBT)
        return [f"when that is mended:\n{command_words('run', mapping, state=state)}"] if failed else []
    step = next_step(left[0], mapping, state, None, doubts_left=True, rejected=False)
    return [] if step is None else [step]


def _folders(state: Path | None) -> Iterator[Path]:
    """All states, by folder and name."""
    chosen = state or (Path(os.environ["LOADER_STATE"]) if os.environ.get("LOADER_STATE") else None)
    for base in [chosen] if chosen else [Path(".loader"), Path("mappings/.loader")]:
        yield from sorted(path.parent for path in base.glob("*/checkpoint.db"))


def _history(folder: Path, name: str, *, all_runs: bool, shown: bool = False) -> History:
    checkpoint = Checkpoint.find(folder)
    if checkpoint is None:
        return History(name, (), holder=holder(folder))
    runs = [row["run"] for row in checkpoint.all_runs()]
    held = holder(folder)
    history = History(
        name,
        tuple(totals_now(checkpoint, run) for run in runs),
        None if (cursor := checkpoint.cursor()) is None else _position(cursor),
        {run: list(dict.fromkeys((file["path"], file["rows"]) for file in checkpoint.files_of(run))) for run in runs},
        held,
        str(folder) if shown else None,
        _ending(checkpoint.ending()),
        _stopped(checkpoint),
        all_runs,
        {run: since for run in runs if (since := pruned(run_folder(folder, run))) is not None},
    )
    if held is None:
        # Of many runs, those that matter to what happens next.
        for run in history.runs:
            if run.run is not None and (run.pending or run.in_doubt or run is history.runs[-1]):
                audit(checkpoint, run.run, run_folder(folder, run.run))
    checkpoint.close()
    return history


def _position(row: Row) -> Position:
    return Position(row["column"], row["value"], row["run"], row["changed"], None, None)


def _ending(row: Row | None) -> Ending | None:
    return None if row is None else Ending(row["at"], row["exit"], row["message"])


def _stopped(checkpoint: Checkpoint) -> dict[str, Ending]:
    """How the deliveries of runs ended that have something left."""
    endings = {
        row["run"]: _ending(checkpoint.ending(row["run"]))
        for row in checkpoint.all_runs()
        if row["status"] not in FINISHED
    }
    return {run: ending for run, ending in endings.items() if ending is not None and ending.exit != Exit.DONE}


def totals_now(checkpoint: Checkpoint, run: str) -> RunTotals:
    """The totals of a run that may be under way: what is read at several moments agrees at one of the tries."""
    for _ in range(_TRIES):
        try:
            return totals(checkpoint, run)
        except DoesNotAddUp:
            time.sleep(0.02)
    return totals(checkpoint, run)
