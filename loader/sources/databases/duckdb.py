"""DuckDB by duckdb-sqlalchemy. The file is opened for reading only; while it is, no other process can write to it.

| type | becomes |
| --- | --- |
| TINYINT to BIGINT, UTINYINT to UBIGINT | integer |
| HUGEINT, UHUGEINT | its digits, as a JSON number |
| DECIMAL(p, s) | decimal, exact |
| FLOAT, DOUBLE; BOOLEAN | floating point; boolean |
| TIMESTAMPTZ; TIMESTAMP; DATE | moment; time without a zone, to the microsecond; date |
| JSON, lists, arrays, STRUCT, MAP | nested values, decimals exact (with JSON inside: text, as DuckDB prints it) |
| BLOB | binary |
| UUID, ENUM, TIME, INTERVAL, BIT and all others | text, as DuckDB prints it |
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import polars as pl
import sqlalchemy as sa

from loader.convert import UTC_TIME
from loader.jsontype import DIGITS, JSON
from loader.sources.databases.base import NAIVE, Cells, Database, Query, existing_file
from loader.sources.sql_types import Column, Kind

_TYPES: Mapping[str, tuple[pl.DataType, Kind]] = {
    **{f"{name}INT": (pl.Int64(), "plain") for name in ("TINY", "SMALL", "BIG", "UTINY", "USMALL")},
    **{name: (pl.Int64(), "plain") for name in ("INTEGER", "UINTEGER")},
    "UBIGINT": (pl.UInt64(), "plain"),
    "HUGEINT": (DIGITS, "number"),
    "UHUGEINT": (DIGITS, "number"),
    "FLOAT": (pl.Float64(), "plain"),
    "DOUBLE": (pl.Float64(), "plain"),
    "BOOLEAN": (pl.Boolean(), "plain"),
    "BLOB": (pl.Binary(), "plain"),
    "JSON": (JSON, "json"),
    "DATE": (pl.Date(), "date"),
    "TIMESTAMP WITH TIME ZONE": (UTC_TIME, "time"),
    **{f"TIMESTAMP{precision}": (NAIVE, "time") for precision in ("", "_S", "_MS", "_NS")},
}
_NESTED = re.compile(r"STRUCT\(|MAP\(|UNION\(|.*\[\d*\]$")


class DuckDb(Database):
    """DuckDB by duckdb-sqlalchemy."""

    extra = "duckdb"
    described = "SELECT * FROM (\n{}\n) LIMIT 0"

    def prepare(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        """See `Database`."""
        existing_file(url)
        return url.set(drivername="duckdb"), {"read_only": True}

    def connect(self, engine: sa.Engine) -> sa.Connection:
        """See `Database`."""
        connection = engine.connect()
        connection.exec_driver_sql("SET TimeZone = 'UTC'")
        # It would be drawn among the results, on stdout.
        connection.exec_driver_sql("SET enable_progress_bar = false")
        return connection

    def columns(self, connection: sa.Connection, result: sa.CursorResult[Any], query: Query) -> list[Column]:
        """See `Database`."""
        described: Any = result.cursor
        return [_column(name, str(kind)) for name, kind, *_ in described.description]

    def cells(
        self, connection: sa.Connection, result: sa.CursorResult[Any], query: Query, columns: list[Column], rows: int
    ) -> Generator[Sequence[Cells], None, None]:
        """See `Database`. All but a few types come as text: what DuckDB prints is exact."""
        described: Any = result.cursor
        wanted = [
            _text(column, str(kind)) for column, (_, kind, *_) in zip(columns, described.description, strict=True)
        ]
        result.close()
        statement = sa.text(f"SELECT {', '.join(wanted)} FROM (\n{query.text}\n)")  # noqa: S608 - the user's own query
        for part in connection.execution_options(stream_results=True).execute(statement, query.params).partitions(rows):
            yield list(zip(*part, strict=True))


def _column(name: str, kind: str) -> Column:
    if (decimal := re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", kind)) is not None:
        return Column(name, pl.Decimal(int(decimal[1]), int(decimal[2])), "decimal")
    if _NESTED.match(kind) and not re.search(r"\bJSON\b", kind):
        return Column(name, JSON, "nested")
    return Column(name, *_TYPES.get(kind, (pl.String(), "text")))


def _text(column: Column, kind: str) -> str:
    """The column as an expression that gives what `Column.kind` wants."""
    name = '"' + column.name.replace('"', '""').replace(":", r"\:") + '"'
    if column.kind == "nested":
        # Of smaller decimals `to_json` makes floating point numbers.
        exact = re.sub(r"DECIMAL\(\d+,(\d+)\)", r"DECIMAL(38,\1)", kind).replace(":", r"\:")
        return f"CAST(to_json(CAST({name} AS {exact})) AS VARCHAR)"
    if kind == "FLOAT":
        # 0.1 of 32 bits is 0.1, not the number of 64 bits that is nearest to it.
        return f"CAST(CAST({name} AS VARCHAR) AS DOUBLE)"
    return name if column.kind == "plain" else f"CAST({name} AS VARCHAR)"
