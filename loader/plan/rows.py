"""The source's rows, for as long as one that a provider refuses may have to be shown as it was.

The rows of a query are kept in files of our own. A file is not copied: a second name (a hard link) keeps its content at
hand when it is moved or removed, and costs nothing. Where no link can be made, or the file is written over, its rows
can be shown only as long as the file itself is what was loaded. Of a remote file the copy is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from loader import jsontext
from loader.durable import make_folder
from loader.errors import StateError
from loader.jsontype import JSON, holds_json, is_json
from loader.plan.parts import ASIDE, Numbered, writing_to
from loader.rejection import ROW

ROWS = "_rows"
_HOW = "source.json"


class File(Protocol):
    """A file of the source."""

    @property
    def path(self) -> str: ...

    def keep(self, at: Path) -> None: ...


class RowWriter(Numbered):
    """A query's rows that became events. They are many and rarely needed: Arrow files without compression cost a
    quarter of Parquet, and are not synced."""

    folder_name = ROWS
    # They wait in memory until a file is full.
    rows_per_file = 40_000

    @staticmethod
    def _write(frames: list[pl.DataFrame], path: Path) -> None:
        with writing_to(path):
            make_folder(path.parent)
            pl.concat(frames, how="vertical_relaxed").write_ipc(path.with_suffix(".arrow"), compression="uncompressed")

    def add(self, rows: pl.DataFrame) -> None:
        """Keep `rows`: the column `ROW` and the source's own.

        A list or an object that holds JSON text is kept as JSON as a whole: Parquet knows the type only as a column.
        """
        mixed = {name: dtype for name, dtype in rows.schema.items() if not is_json(dtype) and holds_json(dtype)}
        texts = [jsontext.value(pl.col(name), dtype).ext.to(JSON).alias(name) for name, dtype in mixed.items()]
        self._add(rows.with_columns(texts) if texts else rows)


def forget_rows(run_folder: Path) -> None:
    """Remove the rows of a run that is done and of which nothing was rejected: nobody will ask for them."""
    shutil.rmtree(run_folder / ROWS, ignore_errors=True)


def keep_files(run_folder: Path, how: dict[str, Any], files: Sequence[File]) -> None:
    """Keep a second name for each file of the source, and `how` to read them, as JSON. Raises StateError."""
    folder = run_folder / ROWS
    with writing_to(folder):
        make_folder(folder)
        (folder / _HOW).write_text(json.dumps(how), encoding="utf-8")
    for file in files:
        with contextlib.suppress(OSError):
            file.keep(_link(run_folder, file.path))


def how_to_read(run_folder: Path) -> dict[str, Any] | None:
    """What `keep_files` was told, or None where it was not."""
    try:
        found: dict[str, Any] = json.loads((run_folder / ROWS / _HOW).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def kept_file(run_folder: Path, path: str) -> Path:
    """The second name of a source's file, or the first where there is no second."""
    link = _link(run_folder, path)
    return link if link.exists() else Path(path)


def _link(run_folder: Path, path: str) -> Path:
    return run_folder / ROWS / hashlib.sha256(path.encode()).hexdigest()[:16]


def read_rows(run_folder: Path, rows: Iterable[int]) -> pl.DataFrame:
    """The query's rows with these numbers, as far as they are kept. Raises StateError."""
    wanted = pl.Series(sorted(rows), dtype=pl.UInt64).implode()
    found = []
    for path in sorted((run_folder / ROWS).glob("*.arrow")):
        try:
            found.append(pl.scan_ipc(path).filter(pl.col(ROW).is_in(wanted)).collect())
        except pl.exceptions.PolarsError as error:
            raise StateError(f"{path} is damaged ({error}): {ASIDE}") from None
    return pl.concat(found, how="diagonal_relaxed") if found else pl.DataFrame(schema={ROW: pl.UInt64()})
