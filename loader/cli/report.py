"""`loader report`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import polars as pl

from loader.checkpoint import Checkpoint
from loader.cli.options import exits, mapping_argument, run_option, state_option
from loader.cli.output import show
from loader.cli.rejected import examples_of, rejections_of
from loader.cli.status import totals_now
from loader.cli.stored import existing, runs_of
from loader.errors import UsageError
from loader.plan import pruned
from loader.report.page import Page, page
from loader.report.rejects import grouped
from loader.report.summary import next_step
from loader.state import holder, run_folder

MOST_NUMBERS = 20


@click.command("report", epilog=exits("0  the page is written", "2  there is no such run, or FILE cannot be written"))
@mapping_argument()
@run_option
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.html",
    help="The page; default: <mapping>.<run>.html here.",
)  # fmt: skip
@state_option
def command(mapping: Path, run: str | None, output: Path | None, state: Path | None) -> None:
    """Write a run as a page for a browser.

    The newest run, or the one that --run names: what was read and what became of it, rejections with examples, chunks
    with their tokens, files. The page stands alone and may be sent by mail; examples show rows of the data.
    """
    checkpoint, folder = existing(mapping, state)
    runs = runs_of(checkpoint, run)
    if checkpoint is None or not runs:
        raise UsageError(f"there is no run of {mapping} yet; `loader run` makes one")
    name = runs[-1]
    target = output or Path(f"{mapping.stem}.{name}.html")
    if target.suffix not in (".html", ".htm"):
        raise UsageError(f"--output takes a file that ends in .html, not {target}")
    text = page(_gathered(checkpoint, folder, name, mapping, state))
    checkpoint.close()
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from None
    show(str(target))


def _gathered(checkpoint: Checkpoint, folder: Path, run: str, mapping: Path, state: Path | None) -> Page:
    record = checkpoint.run(run)
    assert record is not None
    totals = totals_now(checkpoint, run)
    rejected = rejections_of(checkpoint, folder, run)
    groups = grouped(totals.reasons, examples_of(checkpoint, folder, run, rejected), checkpoint.retried_of(run))
    works, moved = holder(folder), checkpoint.cursor(run)
    doubts, refused = totals.in_doubt > 0, totals.rejected > 0
    return Page(
        totals,
        {**record, "cursor": None if moved is None else moved["value"]},
        groups,
        {(group.destination, group.reason): _rows(rejected, group.destination, group.reason) for group in groups},
        [dict(chunk) for chunk in checkpoint.chunks_of(run)],
        [dict(file) for file in checkpoint.files_of(run)],
        None if works else next_step(totals, mapping, state, None, doubts_left=doubts, rejected=refused),
        works,
        datetime.now(UTC).isoformat(timespec="seconds"),
        pruned(run_folder(folder, run)),
    )


def _rows(rejected: pl.DataFrame, destination: str, reason: str) -> list[int]:
    """The first rows that were rejected so."""
    same = (pl.col("destination").fill_null("") == destination) & (pl.col("reason") == reason)
    return rejected.filter(same).get_column("row").head(MOST_NUMBERS).to_list()
