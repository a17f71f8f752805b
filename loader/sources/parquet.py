"""Parquet files: columns with the types that they have, nested ones too.

Categories become text, and extension types what they are stored as. Binary columns are passed on as they are; what to
do with them is for the mapping to say. A time outside the years 1 to 9999, which nothing could print, rejects its row
where its column is used, else it is null.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Any

import polars as pl

from loader.convert import outside_years
from loader.errors import SourceError
from loader.jsontype import inner_type
from loader.rejection import reject
from loader.settings import CursorValue, ParquetSettings
from loader.sources import base
from loader.sources.base import Frame, Input, check_names, numbered, sizes
from loader.sources.cursor import Watch
from loader.sources.typed import Finish

# What is read from the file at once: so many frames, or fewer where they are wide.
FRAMES = 5
CELLS = 1_000_000

_FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


class ParquetSource:
    """A `Source` of Parquet files; see `open_source`."""

    def __init__(
        self,
        settings: ParquetSettings,
        inputs: Sequence[Input],
        *,
        timezone: str | None,
        cursor: CursorValue | None,
        used: Collection[str] | None,
    ) -> None:
        self.inputs = list(inputs)
        first = self.inputs[0]
        schema = _schema(first)
        for other in self.inputs[1:]:
            _same_schema(first, schema, other, _schema(other))
        check_names(list(schema), first.path, "rename it in the file")
        self._plain = {name: pl.col(name) for name in schema}
        self.columns = schema
        for name, dtype in schema.items():
            if isinstance(dtype, (pl.Categorical, pl.Enum)):
                self._plain[name] = pl.col(name).cast(pl.String)
                self.columns[name] = pl.String()
            elif isinstance(dtype, pl.BaseExtension):
                self._plain[name] = pl.col(name).ext.storage()
                self.columns[name] = inner_type(dtype.ext_storage())
        self._outside = {name: outside_years(pl.col(name), dtype) for name, dtype in self.columns.items()}
        self._used = used
        self._watch = (
            None if settings.cursor is None else Watch(settings.cursor, self.columns, cursor, timezone, filters=True)
        )
        self._finish = Finish(self.columns, {}, timezone, self._watch)

    @property
    def cursor(self) -> CursorValue | None:
        """The highest value seen of the cursor's column."""
        return None if self._watch is None else self._watch.highest

    def close(self) -> None:
        """Nothing is held open."""

    def frames(self, inputs: Sequence[Input] | None = None) -> Generator[Frame, None, None]:
        """See `Source`."""
        row = 1
        for file in self.inputs if inputs is None else inputs:
            for rows in self._read(file):
                sound, rejected = self._without_wild_times(numbered(rows, None, row))
                yield self._finish.frame(sound, rejected, None, file)
                row += rows.height
            file.check()

    def _read(self, file: Input) -> Iterator[pl.DataFrame]:
        file.check()
        lazy = _scan(file)
        # A row group can hold a million rows: read as a stream, it would be in memory as a whole.
        at_once = base.FRAME_ROWS * max(1, min(FRAMES, CELLS // len(self._plain) // base.FRAME_ROWS))
        read = 0
        try:
            promised = lazy.select(pl.len()).collect(engine="in-memory").item()
            for start in range(0, promised, at_once):
                rows = lazy.slice(start, at_once).select(self._plain.values()).collect(engine="in-memory")
                read += rows.height
                for offset, length in sizes(rows.height):
                    yield rows.slice(offset, length)
        except _FAILURES as error:
            file.check()
            raise _damaged(file, error) from None
        if read != promised:
            # Polars' own threads may meet damage without a word.
            file.check()
            raise _damaged(file, f"only {read:,} of its {promised:,} rows can be read")

    def _without_wild_times(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame | None]:
        """`rows` with null for times outside the years 1 to 9999, and the rejections of rows where they matter."""
        rejected = []
        for name, outside in self._outside.items():
            wild = None if outside is None else rows.select(outside).to_series()
            if wild is None or not wild.any():
                continue
            if self._used is None or name in self._used:
                message = f"column '{name}': the time lies outside the years 1 to 9999"
                rejected.append(reject(rows, wild, "bad_time", name, message))
            rows = rows.with_columns(pl.when(~wild).then(pl.col(name)).alias(name))
        return rows, pl.concat(rejected) if rejected else None


def _scan(file: Input) -> pl.LazyFrame:
    return pl.scan_parquet(file.whole(), glob=False)


def _schema(file: Input) -> dict[str, pl.DataType]:
    if file.size == 0:
        raise SourceError(f"{file.path} is empty (0 bytes)")
    try:
        schema = dict(_scan(file).collect_schema())
    except _FAILURES as error:
        raise _damaged(file, error) from None
    if not schema:
        raise SourceError(f"{file.path} has no columns")
    for name, dtype in schema.items():
        try:
            pl.Series([], dtype=dtype)
        except pl.exceptions.PolarsError:
            # Such as a decimal number of more than 38 digits.
            raise SourceError(
                f"{file.path}: the column '{name}' is of type {dtype}, which cannot be read; make it text in the file"
            ) from None
    return schema


def _damaged(file: Input, error: BaseException | str) -> SourceError:
    words = str(error).strip().splitlines()
    return SourceError(
        f"{file.path} is not a Parquet file, or it is damaged: {words[0] if words else type(error).__name__}"
    )


def _same_schema(first: Input, schema: dict[str, Any], other: Input, others: dict[str, Any]) -> None:
    for name, dtype in schema.items():
        if name not in others:
            raise SourceError(f"{other.path} has no column '{name}', which {first.path} has; load them apart")
        if others[name] != dtype:
            raise SourceError(
                f"{other.path}: the column '{name}' is of type {others[name]}, but of type {dtype} in {first.path}; "
                "load them apart"
            )
    for name in others:
        if name not in schema:
            raise SourceError(f"{other.path} has a column '{name}', which {first.path} does not have; load them apart")
