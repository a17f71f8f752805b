"""PostgreSQL's rows by ADBC, in columns as Arrow has them, where that driver is installed; `postgres` says what a type
becomes.

psycopg has opened the snapshot and knows the types; ADBC reads over a second connection, in the same snapshot. Texts,
integers, floating point numbers, booleans, binary values, dates and times come as they are, everything else as the text
that COPY would print. Of a row with a date or a time outside the years that all sides read alike (infinity, BC), and of
other rows that will be rejected, all dates and times come as text, too.

Where anything stands in the way before the first row (no second connection, another server behind the same name, an
unknown function), the rows come by COPY instead.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
from sqlalchemy.exc import DBAPIError

from loader.sources.databases import arrow_stream
from loader.sources.sql_types import Column, Times

_INTEGERS = (pl.Int16(), pl.Int32(), pl.Int64())
# Types whose values come as they are, as the Arrow types that are taken for them.
NATIVE: dict[str, tuple[pl.DataType, ...]] = {
    **dict.fromkeys(("text", "varchar", "bpchar", "name"), (pl.String(),)),
    **dict.fromkeys(("int2", "int4", "int8"), _INTEGERS),
    "float8": (pl.Float64(),),
    "bool": (pl.Boolean(),),
    "bytea": (pl.Binary(),),
}
# The first and the last that come as they are. At the edges a zone might lead into a year that has no four digits.
_TIMES: dict[str, tuple[str, str]] = {
    "date": ("1000-01-01", "9999-12-31"),
    "timestamp": ("1000-01-01", "9999-12-31 23:59:59.999999"),
    "timestamptz": ("1000-01-03", "9999-12-29"),
}
# Types that a cast to text prints as COPY does. With others (inet, "char") it does not.
_CASTS = ("numeric", "json", "jsonb", "uuid", "time", "timetz", "interval", "oid", "float4")
_SNAPSHOT = "SELECT pg_catalog.pg_export_snapshot()"
# It would read the catalogue for types that nobody asks for.
_OPTIONS = {"adbc.postgresql.type_resolver_mode": "builtin"}
_WEAK = (None, "disable", "allow", "prefer")
# What the driver and libpq write before what the server says.
_BEFORE = re.compile(r"^(?:\[libpq\] )?(?:Execution error \[\w+\]: |PQgetCopyData\(\) failed: )?(?:[^\s:]+:  )?")


class ArrowRows:
    """The rows of a query by ADBC. `start` it, then take its `cells`, and `close` it in any case."""

    def __init__(self, driver: Any, columns: Sequence[tuple[Column, str]], rows: int) -> None:
        """`driver`: psycopg's connection, whose snapshot is read. `columns`: those of the query's result, each with
        the name of its type. `rows`: of a frame."""
        self._driver = driver
        self._columns = columns
        self._rows = rows
        self._handles = contextlib.ExitStack()
        # A wait in a thread of its own leaves this one free for signals.
        self._thread = ThreadPoolExecutor(1, "postgres")
        self._stream: Any = None
        self._running = False

    def start(self, settings: Sequence[str], query: str, cursor: str | None) -> bool:
        """Whether the rows of `query` are on their way; else they have to come by COPY. psycopg's transaction may have
        failed then.

        `settings`: what is executed at the begin of the transaction. `cursor`: the column of which a null rejects the
        row.
        """
        # Such a database checks no text, and neither does polars.
        unchecked = self._driver.info.parameter_status("server_encoding") == "SQL_ASCII"
        if os.environ.get("LOADER_POSTGRES") == "copy" or unchecked or self._driver.pgconn.used_gssapi:
            return False
        try:
            import adbc_driver_manager as adbc  # noqa: PLC0415 - an optional part
            import adbc_driver_postgresql as postgres  # noqa: PLC0415
        except ImportError:
            return False
        from psycopg import Error  # noqa: PLC0415

        opened = self._handles.enter_context
        try:
            snapshot = self._driver.execute(_SNAPSHOT).fetchone()[0]
            database = opened(postgres.connect(_conninfo(self._driver), _OPTIONS))
            self._connection = opened(adbc.AdbcConnection(database))
            begin = ["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", f"SET TRANSACTION SNAPSHOT '{snapshot}'"]
            for words in (*begin, *settings):
                with adbc.AdbcStatement(self._connection) as each:
                    each.set_sql_query(words)
                    each.execute_update()
            self._statement = opened(adbc.AdbcStatement(self._connection))
            # A byte for each value makes batches far smaller than a frame: an error in one loses few rows, and little
            # memory is held for the few rows that stay behind.
            least = self._rows * len(self._columns)
            self._statement.set_options(**{postgres.StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(least)})
            self._statement.set_sql_query(_select(query, self._columns, cursor))
            self._running = True
            self._stream, _ = self._thread.submit(self._statement.execute_query).result()
            self._empty = pl.DataFrame(schema=pl.Schema(self._stream))
            return _as_expected(self._empty.dtypes, self._columns)
        except adbc.Error:
            self._running = False
            return False
        except (Error, OSError, pl.exceptions.PolarsError):
            return False

    def cells(self) -> Generator[list[pl.Series | Times], None, None]:
        """The values of all rows, column by column, those of one frame at a time. Raises DBAPIError."""
        waiting = self._empty
        while (batch := self._thread.submit(self._batch).result()) is not None:
            waiting.vstack(batch, in_place=True)
            while waiting.height >= self._rows:
                yield self._split(waiting.head(self._rows).rechunk())
                waiting = waiting.slice(self._rows)
        if waiting.height:
            yield self._split(waiting.rechunk())

    def close(self) -> None:
        """End the query, if it still runs, and close the connection."""
        if self._running:
            with contextlib.suppress(Exception):
                self._statement.cancel()
        # The connection is closed when nothing reads it any more.
        self._thread.shutdown()
        if self._stream is not None:
            self._stream.release()
        self._handles.close()

    def _batch(self) -> pl.DataFrame | None:
        """The next rows; None where there are no more."""
        try:
            batch = arrow_stream.next_batch(self._stream)
        except arrow_stream.StreamError as error:
            self._running = False
            state = ""
            with contextlib.suppress(Exception):
                state = self._connection.get_option("adbc.postgresql.transaction_status")
            words = RuntimeError(_BEFORE.sub("", str(error)))
            raise DBAPIError(None, None, words, connection_invalidated=state in ("", "unknown")) from None
        self._running = batch is not None
        return batch

    def _split(self, frame: pl.DataFrame) -> list[pl.Series | Times]:
        given = frame.get_columns()
        done: list[pl.Series | Times] = []
        texts = given[-1] if len(given) > len(self._columns) else None
        if texts is not None and texts.null_count() == len(texts):
            texts = None
        times = 0
        for (column, kind), values in zip(self._columns, given, strict=False):
            if kind not in _TIMES:
                done.append(values.cast(column.dtype) if kind in NATIVE else values)
                continue
            exact = values if values.dtype == column.dtype else values.cast(pl.Int64).cast(column.dtype)
            done.append(Times(exact, None if texts is None else texts.list.get(times, null_on_oob=True)))
            times += 1
        return done


def _conninfo(driver: Any) -> str:
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - an optional part

    parameters: dict[str, Any] = driver.info.get_parameters()
    # What is encrypted there is encrypted here.
    if driver.pgconn.ssl_in_use and parameters.get("sslmode") in _WEAK:
        parameters["sslmode"] = "require"
    return make_conninfo(**parameters, password=driver.info.password or None)


def _select(query: str, columns: Sequence[tuple[Column, str]], cursor: str | None) -> str:
    """`query` with each column as it is to come, and the texts of the dates and times of extraordinary rows."""
    names = [f"c{index}" for index in range(len(columns))]
    sent, lost, times = [], [], []
    for name, (column, kind) in zip(names, columns, strict=True):
        if kind in _TIMES:
            first, last = _TIMES[kind]
            lost.append(f"{name} NOT BETWEEN '{first}' AND '{last}'")
            times.append(f"{name}::text")
            sent.append(f"CASE WHEN {name} BETWEEN '{first}' AND '{last}' THEN {name} END")
        elif kind in NATIVE:
            sent.append(name)
        elif kind in _CASTS:
            sent.append(f"{name}::text")
        else:
            # The function by which COPY prints; that of a null is empty.
            sent.append(f"CASE WHEN pg_catalog.num_nulls({name}) = 0 THEN pg_catalog.concat({name}) END")
        if column.kind in ("decimal", "number"):
            # NaN and infinity; not all versions know an infinite number by its name.
            lost.append(f"{name} - {name} = 'NaN'")
        if column.name == cursor:
            lost.append(f"{name} IS NULL")
    if times:
        sent.append(f"CASE WHEN {' OR '.join(lost)} THEN ARRAY[{', '.join(times)}] END")
    given = ", ".join(f"{value} AS v{index}" for index, value in enumerate(sent))
    # OFFSET keeps PostgreSQL from evaluating what the query computes anew wherever a column is named above.
    fenced = f"SELECT * FROM (\n{query}\n) AS q OFFSET 0"  # noqa: S608 - the user's own query
    return f"SELECT {given} FROM ({fenced}) AS q ({', '.join(names)})"  # noqa: S608


def _as_expected(dtypes: list[pl.DataType], columns: Sequence[tuple[Column, str]]) -> bool:
    for dtype, (_, kind) in zip(dtypes, columns, strict=False):
        wanted = pl.Date() if kind == "date" else pl.Datetime("us", getattr(dtype, "time_zone", None))
        if dtype not in ((wanted,) if kind in _TIMES else NATIVE.get(kind, (pl.String(),))):
            return False
    return dtypes[len(columns) :] in ([], [pl.List(pl.String())])
