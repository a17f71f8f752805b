"""Sources: CSV, JSON lines and Parquet files, and SQL queries, read in frames.

Each file of this folder is one source, or a part of one. All of them give the same: rows numbered from 1, each row
that could not be read as a rejection, and the highest value of the cursor's column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from loader.settings import CsvSettings, CursorValue, JsonlSettings, ParquetSettings, SourceSettings, SqlSettings
from loader.sources import files
from loader.sources.again import reading_again
from loader.sources.base import Frame, Input, Source, begun
from loader.sources.csv import CsvSource
from loader.sources.jsonl import JsonlSource
from loader.sources.parquet import ParquetSource

__all__ = [
    "Frame",
    "Input",
    "Source",
    "begun",
    "find_files",
    "found_files",
    "open_source",
    "reading_again",
]


def find_files(settings: SourceSettings, copies: Path) -> list[Input]:
    """The files of a source, none of a query. Raises SourceError.

    `copies`: the folder for what is read of remote ones."""
    return [] if isinstance(settings, SqlSettings) else files.find(settings.path, copies)


@contextmanager
def found_files(settings: SourceSettings) -> Iterator[list[Input]]:
    """The files of a source, to be looked at: what is read of remote ones is removed afterwards. Raises SourceError."""
    with TemporaryDirectory(prefix="loader-") as copies:
        yield find_files(settings, Path(copies))


def open_source(
    settings: SourceSettings,
    inputs: Sequence[Input],
    *,
    timezone: str | None,
    cursor: CursorValue | None,
    used: Collection[str] | None = None,
    ids: bool = True,
) -> Source:
    """The source that `settings` describe, opened: its columns are known, no row is read for good.

    `inputs`: its files, as they were found. `timezone` (IANA name): the zone of times that carry none. `cursor`: the
    value that the last plan stored, None for the first. `used`: the columns that the mapping needs; types are applied
    and proven for these only (None: for all). `ids`: whether each event has an id, so that a query may give rows again.
    Raises SourceError where the source cannot be read as the settings say.
    """
    if isinstance(settings, CsvSettings):
        return CsvSource(settings, inputs, timezone=timezone, cursor=cursor, used=used)
    if isinstance(settings, JsonlSettings):
        return JsonlSource(settings, inputs, timezone=timezone, cursor=cursor, used=used)
    if isinstance(settings, ParquetSettings):
        return ParquetSource(settings, inputs, timezone=timezone, cursor=cursor, used=used)
    # Files are read without SQLAlchemy, which takes its time to import.
    from loader.sources.sql import SqlSource  # noqa: PLC0415

    return SqlSource(settings, timezone=timezone, cursor=cursor, ids=ids)
