"""`loader run`."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import click

from loader import pipeline
from loader.cli.ending import Watched, watched
from loader.cli.interrupts import nothing_kept
from loader.cli.options import (
    again_option,
    existing_file,
    exits,
    expect_option,
    json_option,
    mapping_argument,
    max_rejected_option,
    state_option,
)
from loader.cli.output import complain, show, show_json
from loader.cli.progress import watch
from loader.cli.standin import StandIn, stand_in
from loader.errors import UsageError
from loader.plan import MaxRejected
from loader.report.summary import next_step, summary
from loader.report.words import command as command_words

EXITS = exits(
    "0  everything planned is delivered, or there was nothing new",
    "2  the command line, the mapping or the source is wrong; nothing was sent",
    "3  finished; some rows or events were rejected",
    "4  stopped: more rejections than --max-rejected",
    "5  the provider could not be reached or kept refusing for load; run again later",
    "6  the provider refused the credentials or the route; mend, then run again",
    "7  finished; chunks in doubt wait for `loader resolve`",
    "8  another process holds this mapping's state",
    "130, 143  interrupted; state saved; run again to go on",
)


@click.command("run", epilog=EXITS)
@mapping_argument(checked=False)
@click.option("--sandbox", is_flag=True, help="Send to the built-in stand-in; the state is forgotten.")
@click.option("--fault", "faults", multiple=True, metavar="SPEC", help="With --sandbox: let it fail, e.g. 429:p=0.2.")
@again_option
@click.option("--stop-after", type=click.IntRange(min=1), metavar="N", help="Send the first N events, then pause.")
@max_rejected_option
@expect_option
@state_option
@click.option(
    "--metrics", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER", envvar="LOADER_METRICS",
    help="Write metrics for Prometheus there, as loader_<mapping>.prom (or LOADER_METRICS).",
)  # fmt: skip
@json_option
@click.option("--quiet", is_flag=True, help="No summary and no progress; errors only.")
def command(
    *,
    mapping: Path,
    sandbox: bool,
    faults: tuple[str, ...],
    again: bool,
    stop_after: int | None,
    max_rejected: str | None,
    no_expect: bool,
    state: Path | None,
    metrics: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Finish what is unfinished, then load what is new."""
    if faults and not sandbox:
        raise UsageError("--fault is for the stand-in; add --sandbox")
    limit = None if max_rejected is None else MaxRejected.parse(max_rejected)
    forgotten = sandbox and state is None
    with contextlib.ExitStack() as stack:
        # A rehearsal wakes nobody.
        ending = Watched() if sandbox else stack.enter_context(watched(mapping, state, metrics))
        existing_file(mapping)
        server: StandIn | None = None
        folder = state
        if sandbox:
            server = stack.enter_context(stand_in("--port", "0", *(f"--fault={fault}" for fault in faults)))
            if forgotten:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loader-sandbox-")))
        progress = stack.enter_context(watch(mapping.stem, quiet=quiet))
        options = pipeline.Options(
            watch=progress,
            state=folder,
            again=again,
            stop_after=stop_after,
            max_rejected=limit,
            expect=not no_expect,
            stand_ins=None if server is None else server.settings(),
        )
        with nothing_kept(lambda: progress.sending):
            result = pipeline.run(mapping, options)
        ending.result = result
        progress.close()
        try:
            if as_json:
                show_result_as_json(result)
            elif not quiet:
                show(_text(result, mapping, state, server, forgotten=forgotten))
        except UsageError as error:
            # It cannot be printed; how the load ended is what counts.
            complain(error)
    leave(result, summed_up=not as_json and not quiet)


def leave(result: pipeline.Result, *, summed_up: bool) -> NoReturn:
    """End with the exit code of `result`, and say what stopped it unless the summary has, on the same terminal."""
    seen = summed_up and sys.stdout.isatty() and sys.stderr.isatty()
    if result.error is not None and not seen:
        complain(result.error)
    click.get_current_context().exit(result.exit_code)


def show_result_as_json(result: pipeline.Result) -> None:
    """Print `result` as one object (design, "Commands")."""
    shown = result.run.as_json()
    if result.before:
        shown["before"] = [run.as_json() for run in result.before]
    if result.error is not None:
        shown["error"] = str(result.error)
    show_json(shown)


def _text(
    result: pipeline.Result, mapping: Path, state: Path | None, server: StandIn | None, *, forgotten: bool
) -> str:
    error = result.error
    parts = [summary(run) for run in result.before]
    parts.append(summary(result.run, None if error is None else str(error)))
    if server is not None and result.run.destinations:
        parts.append(server.received([destination.provider for destination in result.run.destinations]))
    rejected = any(run.rejected for run in [result.run, *result.before])
    following = next_step(result.run, mapping, state, error, doubts_left=result.doubts_left, rejected=rejected)
    if following is not None and forgotten:
        kept = command_words("run", mapping, "--sandbox", state=Path("sandbox-state"))
        following = f"this state is forgotten; to look into a run against the stand-in, keep it:\n{kept}"
    elif following is not None and server is not None and following.splitlines()[-1].startswith("loader run "):
        following += " --sandbox"
    return "\n\n".join([*parts, *([following] if following else [])])
