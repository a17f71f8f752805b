"""Databases that are read by what their driver gives: Snowflake, BigQuery, Redshift, SQL Server and Oracle.

| Python value | becomes |
| --- | --- |
| int, bool, float | integer (above 64 bits: its digits), boolean, floating point |
| Decimal | its digits, as a JSON number; CAST it to an integer or a float where the mapping computes with it |
| datetime with a zone; without; date | moment; time without a zone; date |
| str, UUID, time, timedelta | text |
| bytes | binary |

The values of the first frame say what a column is. A later value of another type, and nested values, are errors that
say how to CAST. One statement is read in one transaction; that it sees one snapshot and cannot write is for the
database and the login to ensure.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any
from uuid import UUID

import polars as pl
import sqlalchemy as sa

from loader.convert import UTC_TIME
from loader.errors import SourceError
from loader.jsontype import DIGITS
from loader.sources import base
from loader.sources.databases.base import NAIVE, Cells, Database, Query
from loader.sources.sql_types import Column

_TEXTS = (str, UUID, time, timedelta)
_BINARY = (bytes, bytearray, memoryview)


class Other(Database):
    """A database of which no more is known than that SQLAlchemy reads it."""

    types_from_values = True

    def __init__(self, extra: str, driver: str) -> None:
        self.extra = extra
        self._driver = driver
        self._first: Sequence[sa.Row[Any]] = []

    def prepare(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        """See `Database`."""
        return url.set(drivername=self._driver), {}

    def connect(self, engine: sa.Engine) -> sa.Connection:
        """See `Database`."""
        return engine.connect()

    def columns(self, connection: sa.Connection, result: sa.CursorResult[Any], query: Query) -> list[Column]:
        """See `Database`."""
        self._first = result.fetchmany(base.FRAME_ROWS)
        names = list(result.keys())
        values = zip(*self._first, strict=True) if self._first else [()] * len(names)
        return [_column(name, cells) for name, cells in zip(names, values, strict=True)]

    def cells(
        self, connection: sa.Connection, result: sa.CursorResult[Any], query: Query, columns: list[Column], rows: int
    ) -> Generator[Sequence[Cells], None, None]:
        """See `Database`."""
        row = 1
        for part in chain([self._first] if self._first else [], result.partitions(rows)):
            parts = zip(*part, strict=True)
            yield [_cells(column, values, row) for column, values in zip(columns, parts, strict=True)]
            row += len(part)


def _column(name: str, cells: Sequence[Any]) -> Column:
    values = [value for value in cells if value is not None]
    if not values:
        return Column(name, pl.String(), "nothing")
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return Column(name, pl.Boolean())
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values):
        return Column(name, pl.Int64())
    if kinds <= {int, Decimal}:
        return Column(name, DIGITS, "number")
    if kinds == {float}:
        return Column(name, pl.Float64())
    if kinds == {date}:
        return Column(name, pl.Date())
    if kinds == {datetime}:
        return Column(name, NAIVE if values[0].tzinfo is None else UTC_TIME)
    if kinds <= set(_BINARY):
        return Column(name, pl.Binary())
    return Column(name, pl.String(), "text")


def _cells(column: Column, values: Sequence[Any], row: int) -> Cells:
    return [None if value is None else _cell(column, value, row + at) for at, value in enumerate(values)]


def _cell(column: Column, value: Any, row: int) -> Any:
    """`value` as its column takes it."""
    dtype = column.dtype
    if dtype == DIGITS and type(value) in (int, Decimal):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    if dtype == pl.String and isinstance(value, _TEXTS):
        return str(value)
    if dtype == pl.Binary and isinstance(value, _BINARY):
        return bytes(value)
    if isinstance(dtype, pl.Datetime) and isinstance(value, datetime):
        if (value.tzinfo is None) == (dtype.time_zone is None):
            return value if value.tzinfo is None else value.astimezone(UTC)
    elif type(value) is {pl.Boolean: bool, pl.Int64: int, pl.Float64: float, pl.Date: date}.get(dtype.base_type()):
        return value
    raise SourceError(
        f"the column '{column.name}' is of type {dtype} by its first values, but row {row} holds "
        f"{str(value)[:100]!r} ({type(value).__name__}); make it one type in the query, "
        f"such as CAST({column.name} AS VARCHAR(100))"
    )
