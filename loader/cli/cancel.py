"""`loader cancel`."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from loader.checkpoint import Checkpoint
from loader.cli.options import HELD, exits, mapping_argument, state_option
from loader.cli.output import show
from loader.cli.stored import existing
from loader.errors import UsageError
from loader.plan import open_part
from loader.report.summary import next_step
from loader.report.totals import totals
from loader.report.words import command as command_words
from loader.report.words import plural
from loader.sending import cancel
from loader.state import hold, run_folder


@click.command(
    "cancel",
    epilog=exits("0  cancelled, or nothing was pending", "2  not confirmed, or the state cannot be used", HELD),
)
@mapping_argument()
@click.option("--yes", is_flag=True, help="Do not ask.")
@state_option
def command(mapping: Path, yes: bool, state: Path | None) -> None:
    """Drop what is pending.

    A run of which nothing was sent is forgotten: its rows are new to the next run. Of one that was begun, the pending
    events become rejections and are not sent.
    """
    checkpoint, folder = existing(mapping, state)
    if checkpoint is None:
        show("nothing is pending")
        return
    with hold(folder):
        checkpoint.claim(mapping.absolute())
        unfinished = checkpoint.unfinished()
        if unfinished is None:
            show("nothing is pending")
            return
        run = unfinished["run"]
        untouched = checkpoint.untouched(run)
        if not yes:
            _ask(checkpoint, run, untouched=untouched)
        if untouched:
            checkpoint.forget(run)
            shutil.rmtree(run_folder(folder, run), ignore_errors=True)
            left = "its events can be retried" if unfinished["of"] else "its rows are new to the next run"
            forgotten = f"run {run} is forgotten; nothing of it was sent, and {left}"
            show("\n".join([forgotten, *_next(checkpoint, mapping, state)]))
            return
        checkpoint.doubt_what_was_in_flight(run)
        count = cancel(checkpoint, run, partial(open_part, run_folder(folder, run)))
        doubts = bool(checkpoint.chunks_of(run, None, ["in_doubt"]))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        checkpoint.set_status(run, "in_doubt" if doubts else "done", now)
        now_totals = totals(checkpoint, run)
        others = _next(checkpoint, mapping, state)
    checkpoint.close()
    lines = [f"run {run}: {plural(count, 'event')} that {'was' if count == 1 else 'were'} pending will not be sent"]
    step = next_step(now_totals, mapping, state, None, doubts_left=doubts, rejected=False)
    if doubts and step is not None:
        lines += ["", step]
    elif count:
        output = ("--reason", "cancelled", "--output", f"{mapping.stem}.cancelled.csv")
        lines += ["", "to write these rows to a file:", command_words("rejects", mapping, *output, state=state)]
    show("\n".join([*lines, *others]))


def _next(checkpoint: Checkpoint, mapping: Path, state: Path | None) -> list[str]:
    """What to do where another run has something left."""
    unfinished = checkpoint.unfinished()
    if unfinished is None:
        return []
    return [
        "",
        f"run {unfinished['run']} is not finished either; to cancel it too:",
        command_words("cancel", mapping, state=state),
    ]


def _ask(checkpoint: Checkpoint, run: str, *, untouched: bool) -> None:
    """Ask on a terminal. Raises UsageError where nobody can answer or the answer is no."""
    pending = totals(checkpoint, run).pending
    what = "forget the run" if untouched else "reject them"
    if not sys.stdin.isatty():
        raise UsageError(f"run {run} has {plural(pending, 'pending event')}; add --yes to {what}")
    if not click.confirm(f"run {run} has {plural(pending, 'pending event')}; {what}?", err=True):
        raise UsageError("nothing was cancelled")
