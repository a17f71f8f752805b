"""Databases of which no more is known than what their driver gives: PostgreSQL, MariaDB and SQLite stand for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
import sqlalchemy as sa

from loader.jsontype import DIGITS
from loader.sources import sql as sql_source
from loader.sources.databases.other import Other
from tests.sources.helpers import failure, read, sized

NAIVE = pl.Datetime("us")
MOMENT = pl.Datetime("us", "UTC")


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    drivers = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "sqlite": "sqlite"}
    known = {name: partial(Other, "none", driver) for name, driver in drivers.items()}
    with patch.object(sql_source, "DATABASES", known):
        yield


def sql(url: str, query: str, **keys: Any) -> dict[str, Any]:
    return {"type": "sql", "url": url, "query": query, **keys}


TYPES: dict[str, tuple[str, Any, Any]] = {
    "a": ("12.10::numeric(10,2)", DIGITS, "12.10"),
    "b": ("12345678901234567890123456789012345678901234567890.1::numeric", DIGITS, None),
    "c": ("9007199254740993::bigint", pl.Int64(), 9007199254740993),
    "d": ("18446744073709551615::numeric(20)", DIGITS, "18446744073709551615"),
    "e": ("'2026-01-01 10:00+02'::timestamptz", MOMENT, datetime(2026, 1, 1, 8, tzinfo=UTC)),
    "f": ("'2026-01-01 10:00:00.5'::timestamp", NAIVE, datetime(2026, 1, 1, 10, 0, 0, 500_000)),
    "g": ("'2026-02-28'::date", pl.Date(), date(2026, 2, 28)),
    "h": ("'10:00:00.5'::time", pl.String(), "10:00:00.500000"),
    "i": ("'7d3dda56-413f-4479-bca9-b0d31c7196c3'::uuid", pl.String(), "7d3dda56-413f-4479-bca9-b0d31c7196c3"),
    "j": (r"'\x00ff'::bytea", pl.Binary(), b"\x00\xff"),
    "k": ("true", pl.Boolean(), True),
    "l": ("0.1::float8", pl.Float64(), 0.1),
    "m": ("'00123'", pl.String(), "00123"),
    "n": ("1e30::numeric", DIGITS, "1000000000000000000000000000000"),
    "o": ("0.00000001::numeric", DIGITS, "0.00000001"),
}


def test_types(postgres_url: str) -> None:
    query = "SELECT " + ", ".join(f"{value} AS {name}" for name, (value, _, _) in TYPES.items())
    query += " UNION ALL SELECT " + ", ".join("null" for _ in TYPES)
    found = read(sql(postgres_url, query))
    assert found.columns == {name: dtype for name, (_, dtype, _) in TYPES.items()}
    assert found.rows == [
        {name: value for name, (_, _, value) in TYPES.items()} | {"b": TYPES["b"][0].removesuffix("::numeric")},
        dict.fromkeys(TYPES),
    ]


def test_types_of_mysql(mysql_url: str) -> None:
    query = (
        "SELECT 12.10 AS a, CAST(18446744073709551615 AS UNSIGNED) AS b, TIMESTAMP'2026-01-01 10:00:00' AS c, "
        "DATE'2026-02-28' AS d, 'x' AS e, 1 AS f"
    )
    found = read(sql(mysql_url, query))
    assert found.columns == {"a": DIGITS, "b": DIGITS, "c": NAIVE, "d": pl.Date(), "e": pl.String(), "f": pl.Int64()}
    day = date(2026, 2, 28)
    assert found.rows == [
        {"a": "12.10", "b": "18446744073709551615", "c": datetime(2026, 1, 1, 10), "d": day, "e": "x", "f": 1}
    ]


def test_rows_of_many_frames(postgres_url: str) -> None:
    query = "SELECT n, CASE WHEN n > 3 THEN 'x' || n END AS t FROM generate_series(1, 100) n"
    with sized(1, 7):
        found = read(sql(postgres_url, query))
    assert [row["n"] for row in found.rows] == list(range(1, 101))
    assert len(found.frames) == 15
    assert found.rows[-1]["t"] == "x100"
    assert read(sql(postgres_url, "SELECT 1 AS n WHERE false")).rows == []


@pytest.mark.parametrize(
    ("value", "held"),
    [
        ("CASE WHEN n < 9 THEN 1 ELSE 1.5 END", None),
        ("CASE WHEN n > 8 THEN 1.5 END", "String by its first values, but row 9 holds '1.5' (Decimal)"),
        ("CASE WHEN n > 8 THEN n END", "String by its first values, but row 9 holds '9' (int)"),
        ("array[1, 2]", "String by its first values, but row 1 holds '[1, 2]' (list)"),
        ("""'{"a": 1}'::json""", """String by its first values, but row 1 holds "{'a': 1}" (dict)"""),
    ],
)
def test_values_of_another_type_than_the_first(postgres_url: str, value: str, held: str | None) -> None:
    query = sql(postgres_url, f"SELECT {value} AS x FROM generate_series(1, 10) n")
    with sized(1, 5):
        if held is None:
            assert [row["x"] for row in read(query).rows] == ["1"] * 8 + ["1.5"] * 2
        else:
            assert failure(query) == (
                f"the column 'x' is of type {held}; make it one type in the query, such as CAST(x AS VARCHAR(100))"
            )


def test_two_types_in_one_column(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE t (x)")
        database.executemany("INSERT INTO t VALUES (?)", [(1,), (2,), ("a",), (2.5,)])
    with sized(1, 2):
        assert failure(sql(f"sqlite:///{tmp_path}/shop.db", "SELECT x FROM t")).startswith(
            "the column 'x' is of type Int64 by its first values, but row 3 holds 'a' (str); make it one type"
        )


def test_numbers_that_are_none(postgres_url: str) -> None:
    found = read(sql(postgres_url, "SELECT * FROM (VALUES (1.5), ('NaN'::numeric), (2)) v (n)"))
    assert [row["n"] for row in found.rows] == ["1.5", "2"]
    assert [row[:4] for row in found.rejected] == [(2, "not_finite", "n", "NaN")]


@pytest.mark.parametrize(
    ("column", "initial", "stored", "taken", "highest"),
    [
        ("id", 1, None, 1, 2),
        ("id", None, 2, 0, 2),
        ("at", "2026-01-01T00:30:00Z", None, 1, datetime(2026, 1, 2, tzinfo=UTC)),
        ("at", None, datetime(2026, 1, 1, tzinfo=UTC), 1, datetime(2026, 1, 2, tzinfo=UTC)),
        ("at", None, datetime(2026, 1, 3, tzinfo=UTC), 0, datetime(2026, 1, 3, tzinfo=UTC)),
        ("day", None, date(2026, 1, 1), 1, date(2026, 1, 2)),
        ("day", None, date(2026, 1, 3), 0, date(2026, 1, 3)),
    ],
)
def test_cursors(postgres_url: str, column: str, initial: Any, stored: Any, taken: int, highest: Any) -> None:
    rows = (
        "(SELECT n AS id, timestamptz '2025-12-31Z' + n * interval '1 day' AS at, date '2025-12-31' + n AS day "
        "FROM generate_series(1, 2) n) v"
    )
    query = f"SELECT * FROM {rows} WHERE {column} > :cursor"
    found = read(sql(postgres_url, query, cursor={"column": column, "initial": initial}), cursor=stored)
    assert (len(found.rows), found.cursor) == (taken, highest)


def test_a_dialect_that_is_not_installed() -> None:
    names = {"snowflake": partial(Other, "snowflake", "snowflake")}
    with patch.object(sql_source, "DATABASES", names), patch.dict(sa.dialects.registry.impls, clear=True):
        assert failure(sql("snowflake://me:secret@account/db", "SELECT 1")) == (
            "snowflake://me:***@account/db: the driver is not installed; "
            "run: pip install 'event-batch-loader[snowflake]'"
        )
