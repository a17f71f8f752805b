"""What differs between databases."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from loader.convert import UTC_TIME
from loader.errors import SourceError
from loader.settings import CursorValue
from loader.sources.sql_types import Column, Times

# The values of one column.
Cells = Sequence[Any] | pl.Series | Times

NAIVE = pl.Datetime("us")


class Database:
    """What differs between databases; `url` is complete when it has passed through `prepare`."""

    extra = ""
    backslashes = False
    # What is executed of a query to know its columns.
    described = "{}"
    # Whether only values tell the types: a column without them has none.
    types_from_values = False

    def prepare(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        """The URL with its driver, and the driver's arguments. Raises SourceError."""
        raise NotImplementedError

    def connect(self, engine: sa.Engine) -> sa.Connection:
        """A connection in a read-only transaction that sees one snapshot, where the database has such."""
        raise NotImplementedError

    def columns(self, connection: sa.Connection, result: sa.CursorResult[Any], query: Query) -> list[Column]:
        """The columns of `result`, the running execution of `query`."""
        raise NotImplementedError

    def bound(self, value: CursorValue | None) -> CursorValue | None:
        """`value` as the driver takes it for `:cursor`."""
        return value

    def cells(
        self, connection: sa.Connection, result: sa.CursorResult[Any], query: Query, columns: list[Column], rows: int
    ) -> Generator[Sequence[Cells], None, None]:
        """The values of all rows, column by column, so many `rows` at a time. Raises DBAPIError."""
        for part in result.partitions(rows):
            yield list(zip(*part, strict=True))

    def abandon(self, connection: sa.Connection, result: sa.CursorResult[Any]) -> None:
        """Give up `result`, whose rows are not all read; `connection` is not used again."""
        result.close()


class Query:
    """One statement with its parameters; `text` has no semicolon at its end. `cursor`: the cursor's column, if any."""

    def __init__(self, text: str, params: Mapping[str, Any], cursor: str | None = None) -> None:
        self.text = text
        self.params = dict(params)
        self.cursor = cursor


def existing_file(url: sa.URL) -> None:
    """Raise SourceError where the URL names no file that is there: the driver would create it."""
    file, kind = url.database, url.get_backend_name()
    if not file or file == ":memory:":
        raise SourceError(f"the URL names no file; write {kind}:///path/to/file.db")
    if not Path(file).is_file():
        raise SourceError(f"{file}: there is no such file")


def unknown_type(value: CursorValue) -> pl.DataType:
    """The type of a column without values, as far as a value of the cursor tells it."""
    if isinstance(value, bool):
        return pl.Boolean()
    if isinstance(value, datetime):
        return NAIVE if value.tzinfo is None else UTC_TIME
    if isinstance(value, date):
        return pl.Date()
    return pl.Int64() if isinstance(value, int) else pl.Float64() if isinstance(value, float) else pl.String()
