"""`loader prune`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from loader.checkpoint import FINISHED, Checkpoint, Row
from loader.cli.options import HELD, exits, json_option, mapping_argument, state_option
from loader.cli.output import show, show_json
from loader.cli.stored import existing
from loader.errors import UsageError
from loader.plan import prunable, prune, pruned
from loader.report.words import command as command_words
from loader.report.words import plural, size
from loader.settings import parse_duration
from loader.state import hold, run_folder


@dataclass(frozen=True)
class Old:
    """A run that is to be pruned. `rejected`: rows and events whose rows go with it."""

    run: str
    bytes: int
    rejected: int


@click.command(
    "prune",
    epilog=exits("0  pruned, or there was nothing to prune", "2  AGE is none, or the state cannot be used", HELD),
)
@mapping_argument()
@click.option("--older-than", "age", metavar="AGE", required=True, help="Of runs that ended so long ago, e.g. 90d.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@state_option
@json_option
def command(*, mapping: Path, age: str, dry_run: bool, state: Path | None, as_json: bool) -> None:
    """Remove plans and rows of old runs.

    Ids, tokens, totals, cursors and what is known of files stay, so that nothing is loaded or delivered twice. Rejected
    rows of these runs cannot be written to a file any more, nor refused events retried. Runs that are not finished or
    have chunks in doubt are left alone, and so is one whose events a later run that is left alone sends again.
    """
    before = _before(age)
    checkpoint, folder = existing(mapping, state)
    chosen: list[Old] = []
    if checkpoint is not None:
        with hold(folder):
            checkpoint.claim(mapping.absolute())
            chosen = list(_chosen(checkpoint, folder, before))
            for old in [] if dry_run else chosen:
                prune(run_folder(folder, old.run))
        checkpoint.close()
    if as_json:
        runs = [{"run": old.run, "bytes": old.bytes, "rejected": old.rejected} for old in chosen]
        freed = sum(old.bytes for old in chosen)
        show_json({"mapping": mapping.stem, "dry_run": dry_run, "runs": runs, "bytes": freed})
        return
    show(_words(chosen, age, dry_run=dry_run))
    if dry_run and chosen:
        show("\nto remove them:\n" + command_words("prune", mapping, "--older-than", age, state=state))


def _before(age: str) -> datetime:
    if age.strip().isdigit():
        raise UsageError(f"--older-than {age}: give a unit, such as {age.strip()}d")
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(age))
    except (ValueError, OverflowError):
        raise UsageError(f"--older-than takes an age such as 90d or 12h, not '{age}'") from None


def _chosen(checkpoint: Checkpoint, folder: Path, before: datetime) -> Iterator[Old]:
    """The runs that ended `before` and are not pruned yet, the oldest first."""
    runs = checkpoint.all_runs()
    doubtful = set(checkpoint.in_doubt())
    kept = [row for row in runs if row["run"] in doubtful or not _ended(row, before)]
    needed = {row["run"] for row in kept} | {row["of"] for row in kept}
    for row in runs:
        where = run_folder(folder, row["run"])
        frees = prunable(where)
        if row["run"] not in needed and (frees or pruned(where) is None):
            rejected = sum(checkpoint.reasons_of(row["run"]).values())
            again = sum(checkpoint.retried_of(row["run"]).values())
            yield Old(row["run"], frees, rejected - again)


def _ended(run: Row, before: datetime) -> bool:
    return run["status"] in FINISHED and datetime.fromisoformat(run["finished"] or run["created"]) < before


def _words(chosen: list[Old], age: str, *, dry_run: bool) -> str:
    if not chosen:
        return f"nothing to prune: no finished run is older than {age}"
    lines = []
    for old in chosen:
        rows = f", with the rows of {plural(old.rejected, 'rejection')}" if old.rejected else ""
        lines.append(f"run {old.run}: {size(old.bytes)}{rows}")
    total = f"{plural(len(chosen), 'run')}, {size(sum(old.bytes for old in chosen))}"
    lines.append(f"{total} would be freed" if dry_run else f"{total} freed; ids, tokens and totals are kept")
    return "\n".join(lines)
