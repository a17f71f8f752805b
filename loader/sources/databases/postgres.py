"""PostgreSQL by psycopg 3. COPY sends the rows, as text: what the database prints is exact. Where the driver of ADBC is
installed, the rows come by that, in half the time (see `postgres_arrow`); LOADER_POSTGRES=copy does without.

| type | becomes |
| --- | --- |
| numeric(p, s) | decimal, exact |
| numeric without (p, s) | its digits, as a JSON number; CAST it where the mapping computes with it |
| timestamptz; timestamp; date | moment; time without a zone; date |
| json, jsonb | nested values, as they are |
| arrays | lists; of numeric and json: nested values; of dates and times: lists of text |
| bytea | binary |
| uuid, enum, time, interval, inet, ranges and all others | text, as the database prints it |
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from loader.convert import UTC_TIME
from loader.jsontype import DIGITS, JSON
from loader.sources.databases import postgres_arrow
from loader.sources.databases.base import NAIVE, Cells, Database, Query
from loader.sources.sql_types import Column, Kind, Times

# What COPY writes for characters that would be mistaken for the end of a value.
_ESCAPED = {r"\\": "\\", r"\b": "\b", r"\f": "\f", r"\n": "\n", r"\r": "\r", r"\t": "\t", r"\v": "\v"}
_SETTINGS = ("SET LOCAL datestyle TO ISO", "SET LOCAL bytea_output TO hex", "SET LOCAL extra_float_digits TO 3")


class Postgres(Database):
    """PostgreSQL by psycopg 3."""

    extra = "postgres"
    # What the database prints is exact, what psycopg would make of it is not always (or is an error).
    _as_text = (
        *("numeric", "json", "jsonb", "date", "time", "timetz", "timestamp", "timestamptz", "interval"),
        *("uuid", "inet", "cidr", "record"),
        *(f"{kind}{many}range" for kind in ("int4", "int8", "num", "date", "ts", "tstz") for many in ("", "multi")),
    )
    _plain: Mapping[str, pl.DataType] = {
        "bool": pl.Boolean(),
        "int2": pl.Int64(),
        "int4": pl.Int64(),
        "int8": pl.Int64(),
        "oid": pl.Int64(),
        "float4": pl.Float64(),
        "float8": pl.Float64(),
        "bytea": pl.Binary(),
    }
    _parsed: Mapping[str, tuple[pl.DataType, Kind]] = {
        "numeric": (DIGITS, "number"),
        "json": (JSON, "json"),
        "jsonb": (JSON, "json"),
        "date": (pl.Date(), "date"),
        "timestamp": (NAIVE, "time"),
        "timestamptz": (UTC_TIME, "time"),
    }

    def prepare(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        """See `Database`."""
        arguments: dict[str, Any] = {"client_encoding": "UTF8"}
        if "connect_timeout" not in url.query:
            arguments["connect_timeout"] = 10
        return url.set(drivername="postgresql+psycopg"), arguments

    def connect(self, engine: sa.Engine) -> sa.Connection:
        """See `Database`."""
        from psycopg.types.string import TextLoader  # noqa: PLC0415 - an optional part

        connection = engine.connect()
        connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        adapters = connection.connection.driver_connection.adapters  # type: ignore[union-attr]
        for name in self._as_text:
            adapters.register_loader(name, TextLoader)
        connection.exec_driver_sql("; ".join(_SETTINGS))
        return connection

    def columns(self, connection: sa.Connection, result: sa.CursorResult[Any], query: Query) -> list[Column]:
        """See `Database`."""
        types = connection.connection.driver_connection.adapters.types  # type: ignore[union-attr]
        described: Any = result.cursor.description
        return [self._column(column, types.get(column.type_code)) for column in described]

    def _column(self, column: Any, info: Any) -> Column:
        name, kind = column.name, "text" if info is None else info.name
        if info is not None and column.type_code == info.array_oid != info.oid:
            if kind in ("numeric", "json", "jsonb"):
                return Column(name, JSON, "numbers" if kind == "numeric" else "jsons")
            return Column(name, pl.List(self._plain.get(kind, pl.String())))
        if kind == "numeric" and column.precision is not None and 0 <= column.scale <= column.precision <= 38:
            return Column(name, pl.Decimal(column.precision, column.scale), "decimal")
        if kind in self._plain:
            return Column(name, self._plain[kind])
        return Column(name, *self._parsed.get(kind, (pl.String(), "text")))

    def cells(
        self, connection: sa.Connection, result: sa.CursorResult[Any], query: Query, columns: list[Column], rows: int
    ) -> Generator[Sequence[Cells], None, None]:
        """See `Database`."""
        from psycopg import ClientCursor, Error  # noqa: PLC0415 - an optional part
        from psycopg.adapt import Transformer  # noqa: PLC0415
        from psycopg.pq import TransactionStatus  # noqa: PLC0415

        driver: Any = connection.connection.driver_connection
        loaders = Transformer(driver)
        described: Any = result.cursor
        codes = [column.type_code for column in described.description]
        arrays = [loaders.get_loader(code, 0).load for code in codes]  # type: ignore[arg-type]
        # The cursor was for the types.
        result.close()
        statement = str(sa.text(query.text).compile(dialect=connection.dialect))
        try:
            # COPY takes no parameters.
            written = ClientCursor(driver).mogrify(statement, query.params)
            kinds = [_kind(driver.adapters.types.get(code), code) for code in codes]
            named = list(zip(columns, kinds, strict=True))
            with closing(postgres_arrow.ArrowRows(driver, named, rows)) as arrow:
                if arrow.start(_SETTINGS, written, query.cursor):
                    # The other connection has taken over the snapshot.
                    connection.close()
                    for given in arrow.cells():
                        yield [
                            values
                            if isinstance(values, Times) or kind in postgres_arrow.NATIVE
                            else _cells(column, values, array)
                            for (column, kind), values, array in zip(named, given, arrays, strict=True)
                        ]
                    return
            if driver.info.transaction_status == TransactionStatus.INERROR:
                driver.rollback()
                driver.execute("; ".join(_SETTINGS))
            yield from _copied(driver, written, columns, arrays, rows)
        except Error as error:
            raise DBAPIError(None, None, error, connection_invalidated=bool(driver.closed)) from None


def _kind(info: Any, code: int) -> str:
    """The name of the type `code`; of an array and of what is not known here, an empty one."""
    return info.name if info is not None and code == info.oid else ""


def _copied(
    driver: Any, query: str, columns: list[Column], arrays: Sequence[Callable[[bytes], Any]], rows: int
) -> Generator[Sequence[Cells], None, None]:
    with driver.cursor() as cursor, cursor.copy(f"COPY (\n{query}\n) TO STDOUT") as copy:
        lines = map(bytes, copy)
        while block := list(islice(lines, rows)):
            texts = _texts(block, len(columns))
            yield [_cells(column, text, array) for column, text, array in zip(columns, texts, arrays, strict=True)]


def _texts(lines: list[bytes], columns: int) -> list[pl.Series]:
    """The values of lines of COPY, column by column."""
    text = pl.Series(lines, dtype=pl.Binary).cast(pl.String)
    values = text.str.strip_suffix("\n").str.split_exact("\t", columns - 1).struct.unnest()
    values = values.select(pl.when(pl.all() != r"\N").then(pl.all()))
    # A null is written with a backslash, too.
    if text.str.contains(r"\\[^N]").any():
        escaped = values.select(pl.all().str.contains("\\", literal=True).any()).row(0, named=True)
        names = [name for name, found in escaped.items() if found]
        values = values.with_columns(pl.col(names).str.replace_many(list(_ESCAPED), list(_ESCAPED.values())))
    return values.get_columns()


def _cells(column: Column, text: pl.Series, array: Callable[[bytes], Any]) -> Cells:
    """`text`, and plain values as they are."""
    if column.kind in ("numbers", "jsons") or isinstance(column.dtype, pl.List):
        return [value if value is None else array(value.encode()) for value in text]
    if column.dtype == pl.Boolean:
        return text == "t"
    if column.dtype == pl.Binary:
        return text.str.strip_prefix("\\x").str.decode("hex")
    return text.cast(column.dtype) if column.kind == "plain" else text
