"""Reading a whole source in a test."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from pydantic import TypeAdapter

from loader.errors import SourceError
from loader.jsontype import is_json
from loader.rejection import ROW
from loader.settings import CursorValue, SourceSettings
from loader.sources import Frame, Source, base, files, find_files, open_source

_SETTINGS: TypeAdapter[Any] = TypeAdapter(SourceSettings)


@dataclass
class Everything:
    """All that a source gave, frame after frame."""

    frames: list[Frame]
    columns: dict[str, pl.DataType]
    cursor: CursorValue | None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows without their numbers; JSON columns as their text."""
        return [row for frame in self.frames for row in plain(frame.rows).drop(ROW).iter_rows(named=True)]

    @property
    def numbers(self) -> list[int]:
        return [number for frame in self.frames for number in frame.rows[ROW]]

    @property
    def rejected(self) -> list[tuple[int, str, str | None, str | None, str]]:
        return [row for frame in self.frames for row in frame.rejected.iter_rows()]

    @property
    def records(self) -> dict[int, str]:
        return {row: text for frame in self.frames for row, text in frame.records.iter_rows()}

    @property
    def filtered(self) -> int:
        return sum(frame.filtered for frame in self.frames)


def plain(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with JSON columns as text."""
    return rows.with_columns(pl.col(name).ext.storage() for name, dtype in rows.schema.items() if is_json(dtype))


def opened(
    settings: dict[str, Any],
    *,
    timezone: str | None = None,
    cursor: CursorValue | None = None,
    used: Collection[str] | None = None,
    ids: bool = True,
) -> Source:
    validated = _SETTINGS.validate_python(settings)
    inputs = find_files(validated, Path("no remote files"))
    return open_source(validated, inputs, timezone=timezone, cursor=cursor, used=used, ids=ids)


def read(settings: dict[str, Any], **options: Any) -> Everything:
    """Read the source of `settings`, and check what holds for every source."""
    source = opened(settings, **options)
    frames = list(source.frames())
    for frame in frames:
        assert dict(frame.rows.schema) == {ROW: pl.UInt64(), **source.columns}
        assert frame.rejected["row"].to_list() == frame.records["row"].to_list()
    everything = Everything(frames, source.columns, source.cursor)
    if "path" in settings and "cursor" not in settings:
        numbers = sorted(everything.numbers + [rejection[0] for rejection in everything.rejected])
        assert numbers == list(range(1, len(numbers) + 1))
    return everything


def failure(settings: dict[str, Any], **options: Any) -> str:
    """The message that reading the source ends with."""
    with pytest.raises(SourceError) as caught:
        read(settings, **options)
    return str(caught.value)


@contextmanager
def sized(block: int, frame: int) -> Iterator[None]:
    """Other sizes of blocks (bytes) and frames (rows)."""
    with patch.object(files, "BLOCK_BYTES", block), patch.object(base, "FRAME_ROWS", frame):
        yield
