"""The state of a mapping, for commands that look at it or decide about it."""

from __future__ import annotations

from pathlib import Path

from loader.checkpoint import Checkpoint
from loader.errors import UsageError
from loader.state import state_folder


def existing(mapping: Path, state: Path | None) -> tuple[Checkpoint | None, Path]:
    """The checkpoint of a mapping, None where nothing was ever run, and its folder. Raises StateError."""
    folder = state_folder(mapping.absolute(), state)
    return Checkpoint.find(folder), folder


def runs_of(checkpoint: Checkpoint | None, run: str | None) -> list[str]:
    """All runs, oldest first, or the one that was asked for. Raises UsageError where there is none of that name."""
    runs = [row["run"] for row in checkpoint.all_runs()] if checkpoint is not None else []
    if run is None:
        return runs
    if run not in runs:
        listed = ", ".join(runs[-5:]) if runs else "none"
        raise UsageError(f"there is no run {run}; the newest are: {listed}")
    return [run]
