"""A cursor takes what is new, all of it and nothing twice, whatever the type of its column."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import polars as pl
import pytest
import sqlalchemy as sa

from loader.settings import cursor_from_text, cursor_to_text
from tests.sources.helpers import failure, read

# Four values in order, as every source below takes them. Two arrive in the first night, two in the second.
WHOLE = ["1", "2", "10", "9007199254740993"]
EXACT = ["1.10", "1.20", "10.00", "10.01"]
DAYS = ["2026-02-28", "2026-03-01", "2026-03-29", "2026-10-25"]
LOCAL = ["2026-03-01 10:00:00", "2026-03-01 10:00:00.000001", "2026-03-29 02:30:00", "2026-10-25 02:30:00.5"]
MOMENTS = [f"{time}+00:00" for time in LOCAL]
TEXTS = ["A10", "A9", "a", "é"]
UUIDS = [f"7d3dda56-413f-4479-bca9-b0d31c71960{end}" for end in "049f"]

Source = Callable[[list[tuple[int, str]]], dict[str, Any]]


def two_nights(source: Source, values: list[str], cursor: dict[str, Any], **options: Any) -> None:
    """`source` gives the settings of a source that holds these rows: number and value of the cursor's column."""
    rows = list(enumerate(values, 1))
    settings = {**source(rows[:2]), "cursor": {"column": "at", **cursor}}
    first = read(settings, **options)
    assert [row["n"] for row in first.rows] == [1, 2]
    assert first.cursor is not None
    stored = cursor_from_text(cursor_to_text(first.cursor))
    assert stored == first.cursor
    assert type(stored) is type(first.cursor)
    again = read(settings, cursor=stored, **options)
    assert (again.rows, again.cursor) == ([], stored)
    second = read({**settings, **source(rows)}, cursor=stored, **options)
    assert [row["n"] for row in second.rows] == [3, 4]
    assert read(settings, cursor=second.cursor, **options).rows == []


@pytest.fixture
def postgres(postgres_url: str, postgres_way: str) -> Iterator[tuple[str, sa.Connection, str]]:
    yield from _table(postgres_url, "postgresql+psycopg")


@pytest.fixture
def mysql(mysql_url: str) -> Iterator[tuple[str, sa.Connection, str]]:
    yield from _table(mysql_url, "mysql+pymysql")


def _table(url: str, driver: str) -> Iterator[tuple[str, sa.Connection, str]]:
    engine = sa.create_engine(sa.make_url(url).set(drivername=driver), isolation_level="AUTOCOMMIT")
    name = f"loader_cursor_{uuid4().hex}"
    with engine.connect() as connection:
        yield url, connection, name
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
    engine.dispose()


def filled(database: tuple[str, sa.Connection, str], kind: str) -> Source:
    url, connection, table = database
    utc = "SET time_zone = '+00:00'" if url.startswith("mysql") else "SET TimeZone = 'UTC'"

    def source(rows: list[tuple[int, str]]) -> dict[str, Any]:
        connection.exec_driver_sql(utc)
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
        connection.exec_driver_sql(f"CREATE TABLE {table} (n int, at {kind})")
        for number, value in rows:
            connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({number}, '{value}')")
        return {"type": "sql", "url": url, "query": f"SELECT n, at FROM {table} WHERE at > :cursor ORDER BY n"}

    return source


@pytest.mark.parametrize(
    ("kind", "values", "initial"),
    [
        ("bigint", WHOLE, 0),
        ("numeric(20, 2)", EXACT, "1.09"),
        ("double precision", EXACT, 1.05),
        ("date", DAYS, "2026-02-27"),
        ("timestamp", LOCAL, "2026-03-01"),
        ("timestamptz", MOMENTS, "2026-03-01T00:00:00Z"),
        ('text COLLATE "C"', TEXTS, ""),
        ("uuid", UUIDS, "00000000-0000-0000-0000-000000000000"),
    ],
)
def test_postgres(postgres: tuple[str, sa.Connection, str], kind: str, values: list[str], initial: Any) -> None:
    two_nights(filled(postgres, kind), values, {"initial": initial})


@pytest.mark.parametrize(
    ("kind", "values", "initial"),
    [
        ("bigint unsigned", WHOLE, 0),
        ("decimal(20, 2)", EXACT, "1.09"),
        ("double", EXACT, 1.05),
        ("date", DAYS, "2026-02-27"),
        ("datetime(6)", LOCAL, "2026-03-01"),
        ("timestamp(6) null", LOCAL, "2026-03-01T00:00:00Z"),
        ("varchar(40) COLLATE utf8mb4_bin", TEXTS, ""),
        ("uuid", UUIDS, "00000000-0000-0000-0000-000000000000"),
    ],
)
def test_mysql(mysql: tuple[str, sa.Connection, str], kind: str, values: list[str], initial: Any) -> None:
    two_nights(filled(mysql, kind), values, {"initial": initial})


@pytest.mark.parametrize(
    ("kind", "values", "initial"),
    [
        ("integer", WHOLE, 0),
        ("real", EXACT, 1.05),
        ("text", LOCAL, ""),
        ("text", TEXTS, ""),
        ("date", DAYS, "2026-02-27"),
        ("timestamp", LOCAL, "2026-03-01"),
    ],
)
def test_sqlite(tmp_path: Path, kind: str, values: list[str], initial: Any) -> None:
    path = tmp_path / "shop.db"

    def source(rows: list[tuple[int, str]]) -> dict[str, Any]:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("DROP TABLE IF EXISTS t")
            database.execute(f"CREATE TABLE t (n integer, at {kind})")
            database.executemany("INSERT INTO t VALUES (?, ?)", rows)
        return {"type": "sql", "url": f"sqlite:///{path}", "query": "SELECT n, at FROM t WHERE at > :cursor ORDER BY n"}

    two_nights(source, values, {"initial": initial})


@pytest.mark.parametrize(
    ("kind", "values", "initial"),
    [
        ("bigint", WHOLE, 0),
        ("decimal(20, 2)", EXACT, "1.09"),
        ("double", EXACT, 1.05),
        ("date", DAYS, "2026-02-27"),
        ("timestamp", LOCAL, "2026-03-01"),
        ("timestamp_ns", LOCAL, "2026-03-01"),
        ("timestamptz", MOMENTS, "2026-03-01T00:00:00Z"),
        ("text", TEXTS, ""),
        ("uuid", UUIDS, "00000000-0000-0000-0000-000000000000"),
    ],
)
def test_duckdb(tmp_path: Path, kind: str, values: list[str], initial: Any) -> None:
    path = tmp_path / "shop.duckdb"

    def source(rows: list[tuple[int, str]]) -> dict[str, Any]:
        with duckdb.connect(str(path)) as database:
            database.execute(f'CREATE OR REPLACE TABLE t (n integer, "at" {kind})')
            for number, value in rows:
                database.execute(f"INSERT INTO t VALUES ({number}, '{value}')")
        return {"type": "sql", "url": f"duckdb:///{path}", "query": 'SELECT * FROM t WHERE "at" > :cursor'}

    two_nights(source, values, {"initial": initial})


FILES = [
    ("integer", WHOLE, 0),
    ("decimal", EXACT, "1.09"),
    ("number", EXACT, 1.05),
    ("date", DAYS, "2026-02-27"),
    ("datetime", MOMENTS, "2026-03-01T00:00:00Z"),
    ("text", TEXTS, ""),
    ("text", TEXTS, None),
]


@pytest.mark.parametrize(("kind", "values", "initial"), FILES)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_text_files(tmp_path: Path, form: str, kind: str, values: list[str], initial: Any) -> None:
    path = tmp_path / f"a.{form}"

    def source(rows: list[tuple[int, str]]) -> dict[str, Any]:
        lines = [f"{n},{at}" if form == "csv" else json.dumps({"n": n, "at": at}) for n, at in rows]
        path.write_text("\n".join((["n,at"] if form == "csv" else []) + lines) + "\n")
        types = {"at": kind} | ({"n": "integer"} if form == "csv" else {})
        return {"type": form, "path": str(path), "types": types}

    two_nights(source, values, {"initial": initial})


@pytest.mark.parametrize(
    ("dtype", "values", "initial"),
    [
        (pl.Int64(), WHOLE, 0),
        (pl.UInt64(), WHOLE, 0),
        (pl.Decimal(20, 2), EXACT, "1.09"),
        (pl.Float64(), EXACT, 1.05),
        (pl.Date(), DAYS, "2026-02-27"),
        (pl.Datetime("us"), LOCAL, "2026-03-01"),
        (pl.Datetime("ns"), LOCAL, "2026-03-01"),
        (pl.Datetime("us", "Europe/Paris"), MOMENTS, "2026-03-01T00:00:00Z"),
        (pl.String(), TEXTS, ""),
    ],
)
def test_parquet(tmp_path: Path, dtype: pl.DataType, values: list[str], initial: Any) -> None:
    path = tmp_path / "a.parquet"

    def source(rows: list[tuple[int, str]]) -> dict[str, Any]:
        texts = pl.Series("at", [at for _, at in rows])
        if isinstance(dtype, pl.Datetime):
            times = texts.str.replace(r"\+00:00$", "").str.to_datetime(time_unit=dtype.time_unit)
            column = times if dtype.time_zone is None else times.dt.replace_time_zone("UTC").cast(dtype)
        else:
            column = texts.str.to_date() if dtype == pl.Date else texts.cast(dtype)
        pl.DataFrame([pl.Series("n", [n for n, _ in rows]), column]).write_parquet(path)
        return {"type": "parquet", "path": str(path)}

    two_nights(source, values, {"initial": initial})


def test_numbers_of_any_size_have_no_order(postgres: tuple[str, sa.Connection, str]) -> None:
    settings = filled(postgres, "numeric")([(1, "1.10")])
    assert failure({**settings, "cursor": {"column": "at", "initial": 1}}) == (
        "the cursor's column 'at' holds numbers of any size, which have no order here; "
        "CAST it in the query, such as CAST(at AS DECIMAL(38, 6))"
    )


def test_rows_with_equal_values_that_arrive_later_are_taken_with_a_lag(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("n,at\n1,2026-03-01\n2,2026-03-02\n3,2026-03-02\n")
    for kind, lag, taken in (("date", None, []), ("date", 0, [2, 3]), ("date", "1d", [1, 2, 3]), ("text", 0, [2, 3])):
        cursor = {"column": "at"} | ({} if lag is None else {"lag": lag})
        settings = {"type": "csv", "path": str(path), "types": {"n": "integer", "at": kind}, "cursor": cursor}
        assert [row["n"] for row in read(settings, cursor="2026-03-02").rows] == taken


def test_a_query_gives_no_row_twice_where_events_have_no_id(postgres: tuple[str, sa.Connection, str]) -> None:
    settings = filled(postgres, "date")([(1, "2026-03-01"), (2, "2026-03-02"), (3, "2026-03-03")])
    settings |= {"query": settings["query"].replace(">", ">="), "cursor": {"column": "at", "initial": "2026-03-01"}}
    assert [row["n"] for row in read(settings, ids=False).rows] == [1, 2, 3], "the query says how to begin"
    found = read(settings, cursor="2026-03-02", ids=False)
    assert ([row["n"] for row in found.rows], found.filtered) == ([3], 1)
    assert [row["n"] for row in read(settings, cursor="2026-03-02").rows] == [2, 3]


def test_text_that_a_database_orders_in_another_way_is_refused(mysql: tuple[str, sa.Connection, str]) -> None:
    settings = filled(mysql, "varchar(40) COLLATE utf8mb4_general_ci")([(1, "a"), (2, "B")])
    settings |= {"cursor": {"column": "at", "initial": ""}}
    message = failure(settings, cursor="a", ids=False)
    assert message.startswith(
        "row 1: to the database 'B' comes after the cursor 'a', but text is compared by its bytes"
    )
