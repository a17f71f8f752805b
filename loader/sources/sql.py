"""SQL queries by SQLAlchemy: the rows stream through a server-side cursor out of one read-only snapshot.

What a type of a database becomes stands in `databases`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

import polars as pl
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from loader import rejection
from loader.errors import ConnectionLost, LoaderError, SourceError
from loader.settings import Cursor, CursorValue, SqlSettings
from loader.sources import base
from loader.sources.base import Frame, Input, check_names, nearest, numbered
from loader.sources.cursor import Watch
from loader.sources.databases import DATABASES, Cells, Query, unknown_type
from loader.sources.sql_types import Column, Times, series
from loader.sources.typed import Finish

_FAILURES = (SQLAlchemyError, UnicodeDecodeError, OSError)
_MISFITS = (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError)


class SqlSource:
    """A `Source` of one SQL query; see `open_source`. The query runs from here on; `frames` reads its rows."""

    def __init__(
        self, settings: SqlSettings, *, timezone: str | None, cursor: CursorValue | None, ids: bool = True
    ) -> None:
        self.inputs: list[Input] = []
        self._settings = settings
        self._timezone = timezone
        self._stored = cursor
        # Without ids a row that comes back would be sent again; the first run takes what the query gives.
        self._filters = cursor is not None and not ids
        self._connection: sa.Connection | None = None
        self._result: sa.CursorResult[Any] | None = None
        self._engine, self._database, self._where, self._secrets = self._make_engine()
        text = single_statement(settings.query, backslashes=self._database.backslashes)
        self._query = Query(text, self._params(text), None if settings.cursor is None else settings.cursor.column)
        self._cells: Generator[Sequence[Cells], None, None] | None = None
        self._watch: Watch | None = None
        self._open()

    @property
    def cursor(self) -> CursorValue | None:
        """The highest value seen of the cursor's column."""
        return None if self._watch is None else self._watch.highest

    def close(self) -> None:
        """End the query, if it still runs, and close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                if self._cells is not None:
                    self._cells.close()
                if self._result is not None:
                    self._database.abandon(connection, self._result)
                connection.close()
            except _FAILURES:
                # One that broke may have been given up already.
                with contextlib.suppress(SQLAlchemyError):
                    connection.invalidate()
        self._result = None
        self._engine.dispose()

    def frames(self, inputs: Sequence[Input] | None = None) -> Generator[Frame, None, None]:
        """See `Source`. Read a second time, the query runs a second time."""
        if self._result is None:
            self._open()
        row = 1
        assert self._connection is not None
        assert self._result is not None
        try:
            self._cells = self._database.cells(
                self._connection, self._result, self._query, self._columns, base.FRAME_ROWS
            )
            for cells in self._cells:
                yield self._frame(cells, row)
                row += len(cells[0])
            self._result = None
        except _FAILURES as error:
            raise self._failed(f"the query failed after {row - 1} rows", error) from None
        finally:
            self.close()

    def _frame(self, values: Sequence[Cells], row: int) -> Frame:
        columns, bad = [], []
        for column, cells in zip(self._columns, values, strict=True):
            try:
                done, failures = series(column, cells)
            except _MISFITS:
                raise self._misfit(column, cells, row) from None
            columns.append(done)
            if failures is not None:
                texts = cells.texts if isinstance(cells, Times) else cells
                bad.append((column.name, pl.Series("", texts, pl.String), failures))
        rows = numbered(pl.DataFrame(columns), None, row)
        if not bad:
            return self._finish.frame(rows, None, None, None)
        rejected = pl.concat([_rejections(rows, *failed) for failed in bad]).unique(
            "row", keep="first", maintain_order=True
        )
        originals = rows.with_columns(cells.alias(name) for name, cells, _ in bad)
        return self._finish.frame(rows, rejected, None, None, raw=originals)

    def _misfit(self, column: Column, cells: Cells, row: int) -> SourceError:
        for offset, cell in enumerate(() if isinstance(cells, Times) else cells):
            try:
                series(column, [cell])
            except _MISFITS:
                return SourceError(
                    f"the column '{column.name}' is of type {column.dtype}, but row {row + offset} holds "
                    f"{str(cell)[:100]!r} ({type(cell).__name__}); make it one type in the query, "
                    f"such as CAST({column.name} AS TEXT)"
                )
        return SourceError(f"the column '{column.name}' cannot be read as {column.dtype}; CAST it in the query")

    def _make_engine(self) -> tuple[sa.Engine, Any, str, list[str]]:
        try:
            url = sa.make_url(self._settings.url.get_secret_value())
        except (SQLAlchemyError, ValueError):
            raise SourceError(
                "`url` is not a database URL; write one such as postgresql://user:password@host/database"
            ) from None
        shown = url.set(query={}).render_as_string(hide_password=True)
        database, _, driver = url.drivername.partition("+")
        if database not in DATABASES:
            raise SourceError(f"{shown}: '{database}' is not read here; there are {', '.join(DATABASES)}")
        kind = DATABASES[database]()
        secrets = [str(url.password)] if url.password else []
        secrets += [
            value
            for key, values in url.query.items()
            if "pass" in key
            for value in ([values] if isinstance(values, str) else values)
        ]
        try:
            url, arguments = kind.prepare(url)
            if driver and driver != url.get_driver_name():
                raise SourceError(f"{shown}: the driver '{driver}' is not used here; write {database}:// without one")
            return sa.create_engine(url, poolclass=NullPool, connect_args=arguments), kind, shown, secrets
        except (ImportError, NoSuchModuleError):
            raise SourceError(
                f"{shown}: the driver is not installed; run: pip install 'event-batch-loader[{kind.extra}]'"
            ) from None
        except LoaderError:
            raise
        except Exception as error:  # noqa: BLE001 - BigQuery looks for credentials here, with errors of its own
            raise SourceError(f"{shown} cannot be opened: {error}") from None

    def _params(self, text: str) -> dict[str, Any]:
        """The values of the query's parameters; that of `:cursor` is null until it is known."""
        names = set(sa.text(text).compile().params)
        given = dict(self._settings.params)
        if self._settings.cursor is not None:
            if "cursor" in given:
                raise SourceError("`params` names `cursor`, which `cursor:` gives already")
            if "cursor" not in names:
                raise SourceError(
                    "the query does not use :cursor; add a condition such as "
                    f"WHERE {self._settings.cursor.column} > :cursor"
                )
            if self._stored is None and self._settings.cursor.initial is None:
                raise SourceError("the first run needs to know where to start; write `initial` under `cursor:`")
            given["cursor"] = None
        for name in sorted(names - given.keys()):
            if name == "cursor":
                raise SourceError(
                    "the query uses :cursor; write `cursor:` with its `column` and `initial` under `source:`"
                )
            raise SourceError(
                f"the query uses :{name}, but `params` does not give it; "
                f"{nearest(name, given) if given else 'it gives none'} "
                f"(a colon that means no parameter is written \\:)"
            )
        for name in sorted(given.keys() - names):
            raise SourceError(f"`params` gives '{name}', which the query does not use; write :{name} where it belongs")
        return given

    def _open(self) -> None:
        try:
            self._connection = self._database.connect(self._engine)
        except _FAILURES as error:
            self.close()
            raise ConnectionLost(f"{self._where} cannot be opened: {self._words(error)}", opened=False) from None
        try:
            self._start(self._connection)
        except _FAILURES as error:
            failed = self._failed("the query fails", error)
            self.close()
            raise failed from None
        except BaseException:
            self.close()
            raise

    def _start(self, connection: sa.Connection) -> None:
        settings = self._settings.cursor
        if settings is not None:
            # The type of the cursor's column says how its value is to be bound; with null no row qualifies.
            self._query.params["cursor"] = None
            columns = self._described(connection)
            start = self._stored if self._stored is not None else settings.initial
            if self._database.types_from_values and settings.column in columns and start is not None:
                columns[settings.column] = unknown_type(start)
            watch = self._watching(settings, columns)
            self._query.params["cursor"] = self._database.bound(watch.floor)
        self._result = self._execute(connection)
        self._columns = self._database.columns(connection, self._result, self._query)
        self.columns: dict[str, pl.DataType] = {column.name: column.dtype for column in self._columns}
        self._check_names([column.name for column in self._columns])
        if settings is not None:
            known = next((c for c in self._columns if c.name == settings.column and c.kind != "nothing"), None)
            self._watch = watch if known is None else self._watching(settings, self.columns)
        self._finish = Finish(self.columns, {}, self._timezone, self._watch)

    def _watching(self, settings: Cursor, columns: dict[str, pl.DataType]) -> Watch:
        return Watch(settings, columns, self._stored, self._timezone, filters=self._filters, query=True)

    def _execute(self, connection: sa.Connection) -> sa.CursorResult[Any]:
        streaming = connection.execution_options(stream_results=True, max_row_buffer=base.FRAME_ROWS)
        result = streaming.execute(sa.text(self._database.described.format(self._query.text)), self._query.params)
        if not result.returns_rows:
            raise SourceError("`query` gives no rows; write a SELECT")
        return result

    def _described(self, connection: sa.Connection) -> dict[str, pl.DataType]:
        result = self._execute(connection)
        columns = self._database.columns(connection, result, self._query)
        result.close()
        self._check_names([column.name for column in columns])
        return {column.name: column.dtype for column in columns}

    def _check_names(self, names: list[str]) -> None:
        check_names(names, "the query's result", "give each its own name with AS")

    def _failed(self, what: str, error: Exception) -> SourceError:
        message = f"{self._where}: {what}: {self._words(error)}"
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return ConnectionLost(message, opened=True)
        return SourceError(message)

    def _words(self, error: BaseException) -> str:
        """What the driver says, in one line, without the password."""
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        args = cause.args
        said = f"{args[1]} ({args[0]})" if len(args) > 1 and isinstance(args[0], int) else str(cause)
        words = next((line.strip() for line in said.splitlines() if line.strip()), type(cause).__name__)
        for secret in self._secrets:
            for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
                words = words.replace(form, "***")
        return words


_PIECES = r"""--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$|"(?:[^"]|"")*"|`[^`]*`|;"""


def single_statement(query: str, *, backslashes: bool) -> str:
    """`query` without the semicolon at its end. Raises SourceError where it is not one query.

    `backslashes`: whether a backslash in a string takes the next character with it.
    """
    string = r"'(?:[^'\\]|''|\\.)*'" if backslashes else r"'(?:[^']|'')*'"
    comments = r"#[^\n]*|" if backslashes else ""
    pieces = re.compile(f"{string}|{comments}{_PIECES}", re.DOTALL)
    end = next((match.start() for match in pieces.finditer(query) if match[0] == ";"), len(query))
    bare = pieces.sub(lambda match: " " if match[0][0] in "-/#;" else "x", query[end:])
    if bare.strip():
        raise SourceError("`query` holds more than one statement; write one SELECT")
    statement = query[:end]
    first = pieces.sub(lambda match: " " if match[0][0] in "-/#" else "x", statement).lstrip(" \t\r\n(")
    word = re.match(r"\w*", first)
    if word is None or word[0].lower() not in ("select", "with", "values", "table"):
        raise SourceError(f"`query` is not a query: it begins with '{first[:20].strip()}'; write a SELECT")
    # SQLAlchemy takes `:name::type` for no parameter at all, and `:name ::type` for one.
    return re.sub(r"(?<![:\w\\]):(\w+)::", r":\1 ::", statement)


def _rejections(rows: pl.DataFrame, name: str, cells: pl.Series, failures: pl.Series) -> pl.DataFrame:
    reason = str(failures.drop_nulls()[0])
    message = f"column '{name}': '{{value}}': {rejection.REASONS[reason]}"
    return rejection.reject(
        rows.select(rejection.ROW, cells.alias("_value")),
        failures.is_not_null(),
        reason,
        name,
        message,
        pl.col("_value"),
    )
