"""SQLite by the standard library.

A column is what all its values are: integer, floating point, text or binary. It may hold anything, whatever its
declaration says. So the query runs twice, in one snapshot: first to prove one type for each column. Integers among
floating point numbers become such numbers if that is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import sqlalchemy as sa

from loader.errors import SourceError
from loader.sources.databases.base import Database, Query, existing_file
from loader.sources.sql_types import Column

# Floating point numbers hold all integers up to here.
_EXACT = 2**53


class Sqlite(Database):
    """SQLite by the standard library."""

    types_from_values = True

    def prepare(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        """See `Database`."""
        if (url.database or "").startswith("file:") and url.query.get("uri") == "true":
            # Without a mode the driver would create the file.
            url = url.update_query_dict({"mode": url.query.get("mode", "rw")})
            if url.query["mode"] not in ("ro", "rw"):
                raise SourceError(f"{url.database}: `mode` is ro or rw; a source is a file that is there")
        else:
            existing_file(url)
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
