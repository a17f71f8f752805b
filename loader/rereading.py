"""The source's rows once more, as they were when they were loaded: for those that a provider refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import TypeAdapter

from loader.checkpoint import Row
from loader.errors import SourceError
from loader.plan import kept_file, read_rows
from loader.rejection import ROW
from loader.settings import SourceSettings
from loader.sources import Input, open_source

_settings: TypeAdapter[Any] = TypeAdapter(SourceSettings)


def rows_as_they_were(run_folder: Path, files: Sequence[Row], rows: Iterable[int]) -> pl.DataFrame:
    """The rows of a run with these numbers, as far as they are to be had: `rejection.ROW` and the source's columns.

    `files`: those that the run loaded (rows of the checkpoint). A file that has changed since gives none.
    """
    wanted = sorted(rows)
    found = [read_rows(run_folder, wanted)]
    for path, file in {file["path"]: file for file in files}.items():
        first = file["first_row"]
        of_file = [row for row in wanted if first <= row < first + file["rows"]]
        kept = kept_file(run_folder, path) if of_file else None
        if kept is not None:
            found += _of_file(*kept, file["digest"], first - 1, of_file)
    return pl.concat([frame for frame in found if len(frame)] or found[:1], how="diagonal_relaxed")


def _of_file(path: Path, how: dict[str, Any], digest: str, before: int, rows: list[int]) -> list[pl.DataFrame]:
    """`before`: rows of the run that stand before those of the file."""
    try:
        if Input.of(str(path)).digest() != digest:
            return []
        settings = _settings.validate_python({**how["source"], "path": [str(path)]})
        source = open_source(settings, timezone=how["timezone"], cursor=None)
        inside = pl.Series([row - before for row in rows], dtype=pl.UInt64).implode()
        frames = [frame.rows.filter(pl.col(ROW).is_in(inside)) for frame in source.frames()]
        return [frame.with_columns(pl.col(ROW) + before) for frame in frames if len(frame)]
    except (OSError, SourceError):
        return []
