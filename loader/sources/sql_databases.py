"""The databases that are read: how a read-only snapshot is opened, and what the types of a result are.

| database | type | becomes |
| --- | --- | --- |
| PostgreSQL | numeric(p, s) | decimal, exact |
| | numeric without (p, s) | its digits, as a JSON number; CAST it where the mapping computes with it |
| | timestamptz; timestamp; date | moment; time without a zone; date |
| | json, jsonb | nested values, as they are |
| | arrays | lists; of numeric and json: nested values; of dates and times: lists of text |
| | bytea | binary |
| | uuid, enum, time, interval, inet, ranges and all others | text, as the database prints it |
| MySQL, MariaDB | DECIMAL | decimal, exact |
| | BIGINT UNSIGNED, BIT | integer of 64 bits without a sign |
| | TINYINT(1), which BOOLEAN stands for | integer |
| | TIMESTAMP; DATETIME; DATE | moment (the session's zone is UTC, NOW() too); time without a zone; date |
| | JSON | nested values, as they are |
| | BLOB, BINARY, geometry | binary |
| | TIME, ENUM, SET | text |
| SQLite | what all values of the column are | integer, floating point, text or binary |

SQLite's columns may hold anything, whatever their declaration says. So the query runs twice, in one snapshot: first to
prove one type for each column. Integers among floating point numbers become such numbers if that is exact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from loader.convert import UTC_TIME
from loader.errors import SourceError
from loader.jsontype import DIGITS, JSON
from loader.settings import CursorValue
from loader.sources.sql_types import Column, Kind

# Floating point numbers hold all integers up to here.
_EXACT = 2**53
_NAIVE = pl.Datetime("us")


class Database:
    """What differs between databases; `url` is complete when it has passed through `prepare`."""

    extra = ""
    backslashes = False

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

    def lost(self, connection: sa.Connection, error: Exception) -> bool:
        """Whether `error` means that `connection` broke."""
        return isinstance(error, DBAPIError) and error.connection_invalidated

    def abandon(self, connection: sa.Connection, result: sa.CursorResult[Any]) -> None:
        """Give up `result`, whose rows are not all read; `connection` is not used again."""
        result.close()


class Query:
    """One statement with its parameters; `text` has no semicolon at its end."""

    def __init__(self, text: str, params: Mapping[str, Any]) -> None:
        self.text = text
        self.params = dict(params)


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
        "timestamp": (_NAIVE, "time"),
        "timestamptz": (UTC_TIME, "time"),
    }

    def prepare(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        """See `Database`."""
        return url.set(drivername="postgresql+psycopg"), {
            "connect_timeout": 10
        } if "connect_timeout" not in url.query else {}

    def connect(self, engine: sa.Engine) -> sa.Connection:
        """See `Database`."""
        from psycopg.types.string import TextLoader  # noqa: PLC0415 - an optional part

        connection = engine.connect()
        connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        adapters = connection.connection.driver_connection.adapters  # type: ignore[union-attr]
        for name in self._as_text:
            adapters.register_loader(name, TextLoader)
        connection.exec_driver_sql("SET LOCAL datestyle TO ISO")
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


class MySql(Database):
    """MySQL and MariaDB by PyMySQL."""

    extra = "mysql"
    backslashes = True
    _integers = (1, 2, 3, 9, 13)
    _floats = (4, 5)
    _decimals = (0, 246)
    _parsed: Mapping[int, tuple[pl.DataType, Kind]] = {
        7: (UTC_TIME, "time"),
        10: (pl.Date(), "date"),
        12: (_NAIVE, "time"),
        14: (pl.Date(), "date"),
        16: (pl.UInt64(), "bits"),
        245: (JSON, "json"),
    }
    _texts = (15, 247, 248, 249, 250, 251, 252, 253, 254)
    _binary_charset = 63
    _unsigned = 32

    def prepare(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        """See `Database`."""
        from pymysql.converters import conversions  # noqa: PLC0415 - an optional part

        # Decimals and times as the text that the database sends; PyMySQL would turn 0000-00-00 into null.
        kept = {key: value for key, value in conversions.items() if key not in (*self._decimals, 7, 10, 11, 12, 14)}
        return url.set(drivername="mysql+pymysql"), {"conv": kept}

    def connect(self, engine: sa.Engine) -> sa.Connection:
        """See `Database`."""
        connection = engine.connect()
        # A TIMESTAMP is a moment, which only a zone without summer time prints without doubt.
        connection.exec_driver_sql("SET time_zone = '+00:00'")
        connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        return connection

    def columns(self, connection: sa.Connection, result: sa.CursorResult[Any], query: Query) -> list[Column]:
        """See `Database`."""
        # The description leaves out the flags and the character set, which PyMySQL keeps here.
        fields = result.cursor._result.fields  # noqa: SLF001
        json_columns = self._json_columns(connection, [field for field in fields if field.length == 0xFFFFFFFF])
        return [self._column(field, json_columns) for field in fields]

    def bound(self, value: CursorValue | None) -> CursorValue | None:
        """See `Database`. The session's zone is UTC, and the driver knows no zones."""
        return value.replace(tzinfo=None) if isinstance(value, datetime) else value

    def abandon(self, connection: sa.Connection, result: sa.CursorResult[Any]) -> None:
        """See `Database`. PyMySQL would read all rows that are left before it lets go."""
        unread: Any = result.cursor
        if unread is not None and unread._result is not None:  # noqa: SLF001
            unread._result.unbuffered_active = False  # noqa: SLF001
        connection.invalidate()

    def _column(self, field: Any, json_columns: set[tuple[str, str, str]]) -> Column:
        code, name = field.type_code, field.name
        if code in self._integers:
            return Column(name, pl.Int64())
        if code == 8:
            return Column(name, pl.UInt64() if field.flags & self._unsigned else pl.Int64())
        if code in self._floats:
            return Column(name, pl.Float64())
        if code in self._decimals:
            fits = field.length - 2 <= 38 and field.scale <= 38
            return Column(name, pl.Decimal(38, field.scale), "decimal") if fits else Column(name, DIGITS, "number")
        if code in self._parsed:
            return Column(name, *self._parsed[code])
        if (field.db, field.org_table, field.org_name) in json_columns:
            return Column(name, JSON, "json")
        if code == 255 or (code in self._texts and field.charsetnr == self._binary_charset):
            return Column(name, pl.Binary())
        return Column(name, pl.String(), "text")

    def _json_columns(self, connection: sa.Connection, fields: list[Any]) -> set[tuple[str, str, str]]:
        """MariaDB's JSON is LONGTEXT with a check: those of `fields` (schema, table, column) that have it."""
        tables = sorted({(field.db, field.org_table) for field in fields if field.org_table})
        if not tables or not connection.dialect.is_mariadb:  # type: ignore[attr-defined]
            return set()
        found = set()
        statement = sa.text(
            "SELECT check_clause FROM information_schema.check_constraints "
            "WHERE constraint_schema = :schema AND table_name = :table AND check_clause LIKE 'json_valid(%'"
        )
        # The first connection is busy with the rows.
        with connection.engine.connect() as second:
            for schema, table in tables:
                for (clause,) in second.execute(statement, {"schema": schema, "table": table}):
                    if match := re.fullmatch(r"json_valid\(`(.*)`\)", clause):
                        found.add((schema, table, match[1]))
        return found


class Sqlite(Database):
    """SQLite by the standard library."""

    def prepare(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        """See `Database`."""
        file = url.database
        # SQLite would create it.
        if not file or file == ":memory:":
            raise SourceError("the SQLite URL names no file; write sqlite:///path/to/file.db")
        if not file.startswith("file:") and not Path(file).is_file():
            raise SourceError(f"{file}: there is no such file")
        return url.set(drivername="sqlite"), {}

    def connect(self, engine: sa.Engine) -> sa.Connection:
        """See `Database`."""
        connection = engine.connect()
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.exec_driver_sql("BEGIN")
        return connection

    def columns(self, connection: sa.Connection, result: sa.CursorResult[Any], query: Query) -> list[Column]:
        """See `Database`."""
        names = list(result.keys())
        quoted = ['"' + name.replace('"', '""').replace(":", r"\:") + '"' for name in names]
        # The first and the last of the types by name: where they are the same, there is no other.
        types = [f"nullif(typeof({name}), 'null')" for name in quoted]
        found = self._over(connection, query, [f"{which}({kind})" for kind in types for which in ("min", "max")])
        columns = []
        for index, name in enumerate(names):
            first, last = found[index * 2 : index * 2 + 2]
            if (first, last) == ("integer", "real"):
                large = (
                    f"max(typeof({quoted[index]}) = 'integer' AND {quoted[index]} NOT BETWEEN -{_EXACT} AND {_EXACT})"
                )
                first = first if self._over(connection, query, [large])[0] else last
            if first != last:
                raise self._conflict(connection, query, index, name, (first, last))
            columns.append(Column(name, pl.String(), "nothing") if first is None else Column(name, _SQLITE[first][0]))
        return columns

    def _over(self, connection: sa.Connection, query: Query, aggregates: list[str]) -> Sequence[Any]:
        statement = f"SELECT {', '.join(aggregates)} FROM (\n{query.text}\n)"  # noqa: S608 - the user's own query
        return connection.execute(sa.text(statement), query.params).one()

    def _conflict(
        self, connection: sa.Connection, query: Query, index: int, name: str, types: tuple[str, str]
    ) -> SourceError:
        kinds = {_SQLITE[kind][1]: _SQLITE[kind][2] for kind in types}
        first: dict[type, int] = {}
        for number, row in enumerate(connection.execute(sa.text(query.text), query.params), 1):
            if type(row[index]) in kinds:
                first.setdefault(type(row[index]), number)
            if len(first) == len(kinds):
                break
        words = " and ".join(f"{kinds[kind]} (first in row {number})" for kind, number in first.items())
        return SourceError(
            f"the column '{name}' holds {words}; make it one type in the query, such as CAST({name} AS TEXT)"
        )


_SQLITE: Mapping[str, tuple[pl.DataType, type, str]] = {
    "integer": (pl.Int64(), int, "integers"),
    "real": (pl.Float64(), float, "floating point numbers"),
    "text": (pl.String(), str, "text"),
    "blob": (pl.Binary(), bytes, "binary values"),
}

DATABASES: Mapping[str, type[Database]] = {
    "postgresql": Postgres,
    "postgres": Postgres,
    "mysql": MySql,
    "mariadb": MySql,
    "sqlite": Sqlite,
}


def unknown_type(value: CursorValue) -> pl.DataType:
    """The type of a column without values, as far as a value of the cursor tells it."""
    if isinstance(value, bool):
        return pl.Boolean()
    return pl.Int64() if isinstance(value, int) else pl.Float64() if isinstance(value, float) else pl.String()
