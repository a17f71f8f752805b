"""Runs whose plan was removed to free the disk. The checkpoint keeps what they delivered: ids, tokens, files, totals.

The note that a plan is gone on purpose lies where it was. So a run folder that comes back from a backup is whole again,
and one that is lost without a note is still told as damage.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from loader.durable import sync_folder
from loader.plan.parts import writing_to

_NOTE = "pruned.json"


def pruned(run_folder: Path) -> str | None:
    """When the plan of a run was pruned (ISO 8601), or None where it was not."""
    try:
        when: str = json.loads((run_folder / _NOTE).read_text(encoding="utf-8"))["pruned"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return when


def prunable(run_folder: Path) -> int:
    """Bytes that pruning a run frees. What has a second name elsewhere, as files of the source do, frees nothing."""
    files = (path.lstat() for path in run_folder.rglob("*") if path.is_file() and path.name != _NOTE)
    return sum(stat.st_size for stat in files if stat.st_nlink == 1)


def prune(run_folder: Path) -> None:
    """Remove the parts, rejections and rows of a run, and leave a note. Raises StateError."""
    note, unfinished = run_folder / _NOTE, run_folder / f"{_NOTE}.unfinished"
    with writing_to(run_folder):
        run_folder.mkdir(mode=0o700, exist_ok=True)
        # First of all, so that a plan that is half gone is known to be gone.
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump({"pruned": datetime.now(UTC).isoformat(timespec="seconds")}, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(note)
        sync_folder(run_folder)
        for path in run_folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != note:
                path.unlink()
