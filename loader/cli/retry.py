"""`loader retry`."""

from __future__ import annotations

from pathlib import Path

import click

from loader import pipeline
from loader.cli.interrupts import nothing_kept
from loader.cli.options import json_option, mapping_argument, max_rejected_option, run_option, state_option
from loader.cli.output import show
from loader.cli.progress import watch
from loader.cli.run import EXITS, leave, show_result_as_json
from loader.cli.stored import existing, runs_of
from loader.plan import MaxRejected
from loader.report.summary import next_step, summary

# Reasons of events that a plan took. What was in doubt is for `loader resolve`: it may have arrived. What was too old
# would be so again: an event is sent again with its time.
REASONS = ("refused", "cancelled")


@click.command("retry", epilog=EXITS)
@mapping_argument()
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice(REASONS),
    default=("refused",),
    show_default=True,
    help="Why they were rejected; may be given several times.",
)
@run_option
@click.option("--written", is_flag=True, help="Also events whose rows `loader rejects --output` wrote to a file.")
@click.option("--stop-after", type=click.IntRange(min=1), metavar="N", help="Send the first N events, then pause.")
@max_rejected_option
@state_option
@json_option
@click.option("--quiet", is_flag=True, help="No summary and no progress; errors only.")
def command(
    *,
    mapping: Path,
    reasons: tuple[str, ...],
    run: str | None,
    written: bool,
    stop_after: int | None,
    max_rejected: str | None,
    state: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Send refused events again, as they were planned.

    For events that a provider refused and would take now, because something changed on its side. Where the rows must
    be mended, write them with `loader rejects --output` and load that file. Unfinished runs are finished first.
    """
    if run is not None:
        checkpoint, _ = existing(mapping, state)
        runs_of(checkpoint, run)
        if checkpoint is not None:
            checkpoint.close()
    limit = None if max_rejected is None else MaxRejected.parse(max_rejected)
    with watch(mapping.stem, quiet=quiet) as progress:
        options = pipeline.Options(progress, state, stop_after=stop_after, max_rejected=limit)
        with nothing_kept(lambda: progress.sending):
            result = pipeline.retry(mapping, options, pipeline.Again(reasons, run, written))
        progress.close()
        if as_json:
            show_result_as_json(result)
        elif not quiet:
            show(_text(result, mapping, state))
    leave(result, summed_up=not as_json and not quiet)


def _text(result: pipeline.Result, mapping: Path, state: Path | None) -> str:
    error = result.error
    parts = [summary(run) for run in result.before]
    if result.run.run is None:
        parts.append(f"{mapping.stem}: no events to send again")
    else:
        parts.append(summary(result.run, None if error is None else str(error)))
    rejected = any(run.rejected for run in [result.run, *result.before])
    following = next_step(result.run, mapping, state, error, doubts_left=result.doubts_left, rejected=rejected)
    return "\n\n".join([*parts, *([following] if following else [])])
