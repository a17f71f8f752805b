"""MySQL and MariaDB by PyMySQL.

| type | becomes |
| --- | --- |
| DECIMAL | decimal, exact |
| BIGINT UNSIGNED, BIT | integer of 64 bits without a sign |
| TINYINT(1), which BOOLEAN stands for | integer |
| TIMESTAMP; DATETIME; DATE | moment (the session's zone is UTC, NOW() too); time without a zone; date |
| JSON | nested values, as they are |
| BLOB, BINARY, geometry | binary |
| TIME, ENUM, SET | text |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from loader.convert import UTC_TIME
from loader.jsontype import DIGITS, JSON
from loader.settings import CursorValue
from loader.sources.databases.base import NAIVE, Database, Query
from loader.sources.sql_types import Column, Kind


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
        12: (NAIVE, "time"),
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
