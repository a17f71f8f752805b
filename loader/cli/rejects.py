"""`loader rejects`."""

from __future__ import annotations

import difflib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import polars as pl

from loader.checkpoint import Checkpoint
from loader.cli.mended import Written, write
from loader.cli.options import HELD, exits, json_option, mapping_argument, run_option, state_option
from loader.cli.output import show, show_json, warn
from loader.cli.rejected import examples_of, rejections_of
from loader.cli.stored import existing, runs_of
from loader.errors import UsageError
from loader.plan import pruned
from loader.rejection import REASONS
from loader.report.rejects import grouped, rejects
from loader.report.words import command as command_words
from loader.report.words import one_line, plural
from loader.state import hold, run_folder

MOST_NAMED = 20


@click.command(
    "rejects", epilog=exits("0  shown, or there are none", "2  there is no such run, or FILE cannot be written", HELD)
)
@mapping_argument()
@run_option
@click.option("--all", "every", is_flag=True, help="All runs, not only the newest load that has rejections.")
@click.option("--reason", metavar="REASON", help="Only this reason.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write the rejected rows: .csv, .jsonl or .parquet.",
)  # fmt: skip
@state_option
@json_option
def command(
    *,
    mapping: Path,
    run: str | None,
    every: bool,
    reason: str | None,
    output: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Show rejections by reason, or write the rejected rows to a file.

    The file has the source's own columns and the rows in their order, each once, ready to be mended and loaded. `loader
    retry` leaves the events of these rows alone from then on, and what it has sent again is left out here.
    """
    if run is not None and every:
        raise UsageError("--run names one run, --all takes all of them; give one of the two")
    _check_reason(reason)
    checkpoint, folder = existing(mapping, state)
    runs = runs_of(checkpoint, run)
    chosen = {} if checkpoint is None else _chosen(checkpoint, runs, reason, newest=run is None and not every)
    if checkpoint is None or not chosen:
        if as_json:
            show_json({"mapping": mapping.stem, "rejections": []})
        else:
            show("no rejections" + (f" of reason {reason}" if reason else ""))
        return
    shown: list[dict[str, Any]] = []
    texts = []
    left = 0
    gone = {name: since for name in chosen if (since := pruned(run_folder(folder, name))) is not None}
    for name, counts in chosen.items():
        rejected = _rejected(checkpoint, folder, name, reason)
        groups = grouped(counts, examples_of(checkpoint, folder, name, rejected), checkpoint.retried_of(name))
        shown += [{"run": name, **group.as_json()} for group in groups]
        texts.append(rejects(name, groups))
        if name in gone:
            texts.append(f"the rows were pruned on {gone[name][:10]}; what is known of their rejections stands above")
        else:
            left += sum(group.count - group.retried for group in groups)
    written = None
    if output is not None:
        written = _write(output, mapping, checkpoint, folder, [name for name in chosen if name not in gone], reason)
        written.pruned = sum(sum(chosen[name].values()) for name in gone)
        _name_unreadable(written)
    if as_json:
        result: dict[str, Any] = {"mapping": mapping.stem, "rejections": shown}
        if written is not None:
            result["output"] = {"file": str(written.file), "rows": written.rows, "unreadable": len(written.unreadable)}
            result["output"] |= {"pruned": written.pruned} if gone else {}
        show_json(result)
    elif written is not None:
        show(_written_words(written))
    else:
        refused = [earlier["run"] for earlier, _, _ in checkpoint.to_retry(("refused",), run, written=False)]
        if any(pruned(run_folder(folder, name)) is None for name in refused):
            texts.append("to send what was refused again, as it was:\n" + command_words("retry", mapping, state=state))
        if left:
            following = command_words("rejects", mapping, "--output", f"{mapping.stem}.rejected.csv", state=state)
            texts.append(f"to write these rows to a file:\n{following}")
        show("\n\n".join(texts))


def _check_reason(reason: str | None) -> None:
    if reason is not None and reason not in REASONS:
        close = difflib.get_close_matches(reason, REASONS, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(REASONS)}"
        raise UsageError(f"there is no reason {reason}; {hint}")


def _chosen(
    checkpoint: Checkpoint, runs: list[str], reason: str | None, *, newest: bool
) -> dict[str, dict[tuple[str, str], int]]:
    """Run → its rejections, counted by destination (or '') and reason; runs without any are left out.

    `newest`: of the newest run that has any, and of those that read the same rows.
    """
    found = {}
    for run in runs:
        counts = {key: count for key, count in checkpoint.reasons_of(run).items() if count and reason in (None, key[1])}
        if counts:
            found[run] = counts
    if newest and found:
        origin = checkpoint.origin(max(found))
        found = {run: counts for run, counts in found.items() if checkpoint.origin(run) == origin}
    return found


def _rejected(checkpoint: Checkpoint, folder: Path, run: str, reason: str | None) -> pl.DataFrame:
    rejected = rejections_of(checkpoint, folder, run)
    return rejected if reason is None else rejected.filter(pl.col("reason") == reason)


def _write(
    output: Path, mapping: Path, checkpoint: Checkpoint, folder: Path, runs: list[str], reason: str | None
) -> Written:
    """Write the rows of rejections to `output`; from then on they are to be loaded from there.

    So `loader retry` leaves their events alone, and what it has planned again is left out here.
    """
    marked = any(checkpoint.refusals_of(run) for run in runs)
    here, before = str(output.absolute()), 0
    others = {run for run, why in checkpoint.written_to(here) if run not in runs or reason not in (None, why)}
    if others:
        raise UsageError(
            f"{output} is where rejected rows of run {', '.join(sorted(others))} were written, to be loaded from there;"
            " choose another file"
        )
    with hold(folder) if marked else nullcontext(), checkpoint.writing():
        frames: dict[str, pl.DataFrame] = {}
        for run in runs:
            refusals = checkpoint.refusals_of(run)
            taken = [r for r in refusals if r["retried"] is not None or r["written"] not in (None, here)]
            before += sum(r["retried"] is None and reason in (None, r["reason"]) for r in taken)
            keys = {key: [r[key] for r in taken] for key in ("row", "destination")}
            gone = pl.DataFrame(keys, schema={"row": pl.UInt64(), "destination": pl.String()})
            rejected = _rejected(checkpoint, folder, run, reason)
            frame = rejected.join(gone, on=["row", "destination"], how="anti", maintain_order="left")
            origin = checkpoint.origin(run)
            frames[origin] = pl.concat([frames[origin], frame]).sort("row") if origin in frames else frame
        written = write(output, mapping, checkpoint, folder, frames)
        written.before = before
        for run in runs if marked else []:
            origin = checkpoint.origin(run)
            lost = [row for read_by, row in written.missing if read_by == origin]
            checkpoint.mark_written(run, reason, here, but=lost)
    # The marks come first: rows that stand in a file and are sent again as well are what must not be.
    written.keep()
    return written


def _name_unreadable(written: Written) -> None:
    for words in written.unreadable[:MOST_NAMED]:
        warn(f"loader: {one_line(words)}")
    if len(written.unreadable) > MOST_NAMED:
        warn(f"loader: and {plural(len(written.unreadable) - MOST_NAMED, 'more row')} that could not be read")


def _written_words(written: Written) -> str:
    lines = [f"{plural(written.rows, 'row')} written to {written.file}"]
    if written.unreadable:
        lines.append(f"{plural(len(written.unreadable), 'row')} could not be read; what is known of them stands there")
    if written.missing:
        one = len(written.missing) == 1
        lines.append(
            f"{plural(len(written.missing), 'row')} {'is' if one else 'are'} lost: "
            f"{'its' if one else 'their'} file has changed or is gone; what a provider refused of "
            f"{'it' if one else 'them'} can be sent again as it was planned, with `loader retry`"
        )
    if written.before:
        lines.append(f"{plural(written.before, 'event')} left out: their rows stand in a file that was written before")
    if written.pruned:
        lines.append(f"{plural(written.pruned, 'rejection')} left out: their rows were pruned")
    if written.doubtful:
        lines.append(
            f"{plural(written.doubtful, 'row')} may have arrived: the events were in doubt, and loading the file sends "
            "them again"
        )
    if written.cursor:
        lines.append(
            "the cursor of the mapping stands behind these rows and would filter them: load the file with a mapping "
            "that has none"
        )
    if written.elsewhere:
        lines.append(
            f"{plural(written.elsewhere, 'row')} made events that other destinations get all the same: "
            "without an `id` in the mapping, loading the file sends those again"
        )
    return "\n".join(lines)
