"""The source's rows once more, as they were when they were loaded: for those that a provider refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import TypeAdapter

from loader.checkpoint import Row
from loader.errors import SourceError
from loader.plan import how_to_read, kept_file, read_rows
from loader.rejection import ROW
from loader.settings import SourceSettings
from loader.sources import Input, open_source

_settings: TypeAdapter[Any] = TypeAdapter(SourceSettings)


def rows_as_they_were(run_folder: Path, files: Sequence[Row], rows: Iterable[int]) -> pl.DataFrame:
    """The rows of a run with these numbers, as far as they are to be had: `rejection.ROW` and the source's columns.

    `files`: those that the run loaded (rows of the checkpoint). One that has changed since gives none.
    """
    wanted = sorted(rows)
    how = how_to_read(run_folder)
    if how is None:
        return read_rows(run_folder, wanted)
    loaded = {file["path"]: file for file in files}
    found = [(file, kept_file(run_folder, path)) for path, file in loaded.items()] if wanted else []
    unchanged = [(file, str(path)) for file, path in found if _is_still(path, file["digest"])]
    try:
        frames = _read_again(unchanged, how, wanted) if unchanged else []
    except SourceError:
        frames = []
    return pl.concat(frames) if frames else pl.DataFrame(schema={ROW: pl.UInt64()})


def _read_again(files: Sequence[tuple[Row, str]], how: dict[str, Any], wanted: Sequence[int]) -> list[pl.DataFrame]:
    # All together, as they were read then: the type of a column may depend on all of them.
    settings = _settings.validate_python({**how["source"], "path": [path for _, path in files]})
    inputs = {path: Input.of(path) for _, path in files}
    source = open_source(settings, list(inputs.values()), timezone=how["timezone"], cursor=None, used=how["used"])
    frames = []
    for file, path in files:
        before = file["first_row"] - 1
        inside = [row - before for row in wanted if 0 < row - before <= file["rows"]]
        if inside:
            here = pl.col(ROW).is_in(pl.Series(inside, dtype=pl.UInt64).implode())
            read = (frame.rows.filter(here) for frame in source.frames([inputs[path]]))
            frames += [frame.with_columns(pl.col(ROW) + before) for frame in read if len(frame)]
    return frames


def _is_still(path: Path, digest: str) -> bool:
    try:
        return Input.of(str(path)).digest() == digest
    except (OSError, SourceError):
        return False
