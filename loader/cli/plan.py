"""`loader plan`."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import click

from loader import pipeline
from loader.checkpoint import Checkpoint
from loader.cli.interrupts import nothing_kept
from loader.cli.options import (
    HELD,
    SIGNALS,
    again_option,
    exits,
    expect_option,
    json_option,
    mapping_argument,
    max_rejected_option,
    sandbox_option,
    state_option,
)
from loader.cli.output import show, show_json
from loader.cli.progress import watch
from loader.cli.rejected import examples_of, rejections_of
from loader.mapping import Destination, read
from loader.plan import MaxRejected
from loader.report.plan import Load, planned
from loader.report.rejects import Example
from loader.report.summary import summary
from loader.report.totals import RunTotals
from loader.report.words import command as command_words
from loader.sandbox.credentials import CREDENTIALS
from loader.state import state_folder

EXITS = exits(
    "0  the plan is made, or there was nothing new",
    "2  the mapping or the source is wrong, or events are too late for a provider",
    "3  the plan is made; some rows or events were rejected",
    "4  more rejections than --max-rejected; no plan is kept",
    HELD,
    SIGNALS,
)


@click.command("plan", epilog=EXITS)
@mapping_argument()
@sandbox_option
@again_option
@max_rejected_option
@expect_option
@state_option
@json_option
def command(
    *,
    mapping: Path,
    sandbox: bool,
    again: bool,
    max_rejected: str | None,
    no_expect: bool,
    state: Path | None,
    as_json: bool,
) -> None:
    """Stage what is new and show it; send nothing.

    Shows rows, events, chunks, bytes, rejections by reason, and how long the delivery takes. Nothing leaves until
    `loader run`.
    """
    limit = None if max_rejected is None else MaxRejected.parse(max_rejected)
    stand_ins = CREDENTIALS if sandbox else None
    with contextlib.ExitStack() as stack:
        chosen = state
        if sandbox and state is None:
            chosen = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loader-sandbox-")))
        with watch(mapping.stem) as progress, nothing_kept(lambda: False):
            options = pipeline.Options(
                progress, chosen, again=again, max_rejected=limit, expect=not no_expect, stand_ins=stand_ins
            )
            result = pipeline.plan(mapping, options)
        if result.run.run is None:
            if as_json:
                show_json(result.run.as_json())
            else:
                show(summary(result.run))
            return
        folder = state_folder(mapping.absolute(), chosen)
        known = {d.name: d for d in read(mapping, credentials="optional", stand_ins=stand_ins).destinations}
        loads, examples = _look(folder, result.run, result.run.run, known)
    if as_json:
        shown = result.run.as_json()
        for destination, load in zip(shown["destinations"], loads, strict=True):
            destination.update(bytes=load.bytes, seconds_at_rate=load.seconds_at_rate, warning=load.warning)
        show_json(shown)
    else:
        parts = [planned(result.run, loads, examples)]
        if result.run.pending:
            following = command_words("run", mapping, *(["--sandbox"] if sandbox else []), state=state)
            parts.append(f"to send it:\n{following}")
        elif result.run.rejected and not sandbox:
            parts.append(f"to write the rejected rows to a file:\n{command_words('rejects', mapping, state=state)}")
        show("\n\n".join(parts))
    click.get_current_context().exit(result.exit_code)


def _look(
    folder: Path, run: RunTotals, name: str, known: dict[str, Destination]
) -> tuple[list[Load], dict[tuple[str, str], Example]]:
    checkpoint = Checkpoint.open(folder, run.mapping)
    loads = []
    for destination in run.destinations:
        waiting = checkpoint.pending_requests(name, destination.name)
        rate = warning = None
        if destination.name in known:
            now = known[destination.name]
            rate = now.settings.rate or now.route.rate
            warning = now.route.warning(destination.events.pending)
        loads.append(Load(destination.name, destination.chunks, waiting, destination.bytes, rate, warning))
    examples = examples_of(checkpoint, folder, name, rejections_of(checkpoint, folder, name)) if run.rejected else {}
    checkpoint.close()
    return loads, examples
