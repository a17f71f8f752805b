"""SQL queries against real databases."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import polars as pl
import pytest
import sqlalchemy as sa

from loader import jsontext
from loader.jsontype import DIGITS, JSON
from loader.settings import CursorValue
from tests.sources.helpers import failure, opened, read, sized

NAIVE = pl.Datetime("us")
MOMENT = pl.Datetime("us", "UTC")


def sql(url: str, query: str, **keys: Any) -> dict[str, Any]:
    return {"type": "sql", "url": url, "query": query, **keys}


@pytest.fixture
def sqlite(tmp_path: Path) -> tuple[str, sqlite3.Connection]:
    path = tmp_path / "shop.db"
    return f"sqlite:///{path}", sqlite3.connect(path)


@pytest.fixture
def postgres(postgres_url: str, postgres_way: str) -> Iterator[tuple[str, sa.Connection, str]]:
    yield from _table(postgres_url, sa.make_url(postgres_url).set(drivername="postgresql+psycopg"))


@pytest.fixture
def mysql(mysql_url: str) -> Iterator[tuple[str, sa.Connection, str]]:
    yield from _table(mysql_url, sa.make_url(mysql_url).set(drivername="mysql+pymysql"))


def _table(url: str, engine_url: sa.URL) -> Iterator[tuple[str, sa.Connection, str]]:
    """The URL, a connection that commits by itself, and a table name that nobody else has."""
    engine = sa.create_engine(engine_url, isolation_level="AUTOCOMMIT")
    name = f"loader_test_{uuid4().hex}"
    with engine.connect() as connection:
        yield url, connection, name
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
    engine.dispose()


def with_query(url: str, **keys: str) -> str:
    return sa.make_url(url).update_query_dict(keys).render_as_string(hide_password=False)


def sent(found: Any, column: str) -> list[str | None]:
    """The JSON text of `column`."""
    return [
        text
        for frame in found.frames
        for text in frame.rows.select(jsontext.value(pl.col(column), frame.rows.schema[column])).to_series()
    ]


POSTGRES_TYPES: dict[str, tuple[str, Any, Any]] = {
    "a": ("12.10::numeric(10,2)", pl.Decimal(10, 2), Decimal("12.10")),
    "b": ("12.100::numeric", DIGITS, "12.100"),
    "c": ("9007199254740993::bigint", pl.Int64(), 9007199254740993),
    "d": ("'2026-01-01 10:00+02'::timestamptz", MOMENT, datetime(2026, 1, 1, 8, tzinfo=UTC)),
    "e": ("'2026-01-01 10:00:00.5'::timestamp", NAIVE, datetime(2026, 1, 1, 10, 0, 0, 500_000)),
    "f": ("'2026-02-28'::date", pl.Date(), date(2026, 2, 28)),
    "g": ("'10:00:00.5'::time", pl.String(), "10:00:00.5"),
    "h": (
        "'7d3dda56-413f-4479-bca9-b0d31c7196c3'::uuid",
        pl.String(),
        "7d3dda56-413f-4479-bca9-b0d31c7196c3",
    ),
    "i": ("""'{"a": 12.10, "b": "x : y"}'::jsonb""", JSON, '{"a":12.10,"b":"x : y"}'),
    "j": ("""'{"n": 9007199254740993,\n "a": [1,  2]}'::json""", JSON, '{"n":9007199254740993,"a":[1,2]}'),
    "k": ("array[1,null,2]", pl.List(pl.Int64()), [1, None, 2]),
    "l": ("array[1.10,2]", JSON, "[1.10,2]"),
    "m": ("array['a',null]", pl.List(pl.String()), ["a", None]),
    "n": (r"'\x00ff'::bytea", pl.Binary(), b"\x00\xff"),
    "o": ("'10.0.0.1'::inet", pl.String(), "10.0.0.1"),
    "p": ("'1 day 02:00'::interval", pl.String(), "1 day 02:00:00"),
    "q": ("true", pl.Boolean(), True),
    "r": ("0.1::real", pl.Float64(), 0.1),
    "s": ("int4range(1,5)", pl.String(), "[1,5)"),
    "t": ("'x'::char(3)", pl.String(), "x  "),
    "u": ("""array['{"a": 1}'::jsonb]""", JSON, '[{"a":1}]'),
    "v": ("row(1,'x')", pl.String(), "(1,x)"),
    "w": ("'1890-01-01 00:00+00:09:21'::timestamptz", MOMENT, datetime(1889, 12, 31, 23, 50, 39, tzinfo=UTC)),
    "row": ("sum(3)", pl.Int64(), 3),
}


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "Asia/Kolkata"])
def test_postgres_types(postgres: Any, zone: str) -> None:
    url, _, _ = postgres
    query = "SELECT " + ", ".join(f"{value} AS {name}" for name, (value, _, _) in POSTGRES_TYPES.items())
    found = read(sql(with_query(url, options=f"-c TimeZone={zone}"), query))
    assert found.columns == {name: dtype for name, (_, dtype, _) in POSTGRES_TYPES.items()}
    assert found.rows == [{name: value for name, (_, _, value) in POSTGRES_TYPES.items()}]
    assert sent(found, "i") == ['{"a":12.10,"b":"x : y"}']


def test_postgres_types_do_not_depend_on_the_values(postgres: Any) -> None:
    url, connection, table = postgres
    connection.exec_driver_sql(f"CREATE TABLE {table} (n numeric(10,2), t timestamptz, j jsonb, b bigint, l int[])")
    columns = {"n": pl.Decimal(10, 2), "t": MOMENT, "j": JSON, "b": pl.Int64(), "l": pl.List(pl.Int64())}
    empty = read(sql(url, f"SELECT * FROM {table}"))
    assert (empty.columns, empty.rows) == (columns, [])
    connection.exec_driver_sql(f"INSERT INTO {table} SELECT NULL FROM generate_series(1, 50)")
    connection.exec_driver_sql(
        f"""INSERT INTO {table} VALUES (1.5, now(), '{{"a": [1]}}', 1, '{{1}}'), (2, now(), '"x"', 2, NULL)"""
    )
    with sized(1, 7):
        found = read(sql(url, f"SELECT * FROM {table}"))
    assert found.columns == columns
    assert len(found.frames) == 8
    assert sent(found, "j")[-2:] == ['{"a":[1]}', '"x"']


def test_postgres_text_is_what_it_was(postgres: Any) -> None:
    url, connection, table = postgres
    texts = [
        "",
        " ",
        r"\N",
        r"\\N",
        "\\",
        "\n",
        "a\tb\r\n",
        "\b\f\v",
        r"\n\t",
        r"\\t",
        "\x01",
        '"',
        ",",
        "é😀",
        "null",
        None,
    ]
    connection.exec_driver_sql(f"CREATE TABLE {table} (n int, t text, a text[], j json)")
    insert = sa.text(f"INSERT INTO {table} VALUES (:n, :t, :a, to_json(:t\\:\\:text))")
    connection.execute(insert, [{"n": n, "t": text, "a": [text, "x"]} for n, text in enumerate(texts)])
    found = read(sql(url, f"SELECT t, a, j, n % 2 AS odd FROM {table} ORDER BY n"))
    assert [row["t"] for row in found.rows] == texts
    assert [row["a"] for row in found.rows] == [[text, "x"] for text in texts]
    assert [row["j"] and json.loads(row["j"]) for row in found.rows] == texts
    assert [row["odd"] for row in found.rows[:3]] == [0, 1, 0]
    assert [row["t"] for row in read(sql(url, f"SELECT t FROM {table} ORDER BY n")).rows] == texts


def test_postgres_text_of_a_database_without_an_encoding(postgres: Any) -> None:
    url, connection, name = postgres
    connection.exec_driver_sql(
        f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    other = sa.make_url(url).set(database=name).render_as_string(hide_password=False)
    try:
        assert read(sql(other, "SELECT 'é' AS a")).rows == [{"a": "é"}]
        assert "invalid byte sequence" in failure(sql(other, r"SELECT E'\351' AS a"))
    finally:
        connection.exec_driver_sql(f"DROP DATABASE {name}")


def test_postgres_values_do_not_depend_on_the_settings_of_a_role(postgres: Any) -> None:
    url, _, _ = postgres
    odd = "-c extra_float_digits=0 -c bytea_output=escape -c datestyle=SQL,DMY -c client_encoding=LATIN1"
    query = r"SELECT 0.1\:\:float8 + 0.2 AS f, '\x00ff'\:\:bytea AS b, date '2026-03-01' AS d, '€' AS t"
    assert read(sql(with_query(url, options=odd), query)).rows == [
        {"f": 0.1 + 0.2, "b": b"\x00\xff", "d": date(2026, 3, 1), "t": "€"}
    ]


def test_values_that_are_no_numbers_or_times_reject_their_row(postgres: Any) -> None:
    url, _, _ = postgres
    query = (
        "SELECT * FROM (VALUES (1, 'NaN'::numeric, now()), (2, 1.5, 'infinity'), (3, 2, now()), "
        "(4, 'Infinity', now()), (5, 1, '4000-01-01 BC')) v (id, n, t)"
    )
    found = read(sql(url, query, cursor={"column": "id", "initial": 0}) | {"query": query + " WHERE id > :cursor"})
    assert [row["id"] for row in found.rows] == [3]
    assert [row[:4] for row in found.rejected] == [
        (1, "not_finite", "n", "NaN"),
        (2, "bad_time", "t", "infinity"),
        (4, "not_finite", "n", "Infinity"),
        (5, "bad_time", "t", "4000-01-01 00:00:00+00 BC"),
    ]
    assert json.loads(found.records[1])["n"] == "NaN"
    assert found.cursor == 5


def test_mysql_types(mysql: Any) -> None:
    url, connection, table = mysql
    connection.exec_driver_sql(
        f"CREATE TABLE {table} (id int primary key, a decimal(10,2), b bigint unsigned, c tinyint(1), d datetime(3), "
        "e timestamp null, f date, g time, h json, i blob, j varchar(20), k enum('a','b'), l bit(9), m year, n float, "
        "o double, p text, q decimal(65,30), r binary(2), s set('x','y'), t bigint)"
    )
    connection.exec_driver_sql("SET time_zone = '+05:00'")
    connection.exec_driver_sql(
        f"INSERT INTO {table} VALUES (1, 12.10, 18446744073709551615, 1, '2026-01-01 10:00:00.5', "
        """'2026-01-01 10:00:00', '2026-02-28', '-100:00:01', '{"a": 12.10}', x'00ff', 'é', 'a', b'100000001', """
        "2026, 0.1, 0.1, 'txt', 1.5, x'0001', 'x,y', -9223372036854775808)"
    )
    connection.exec_driver_sql(f"INSERT INTO {table} (id) VALUES (2)")
    connection.exec_driver_sql("SET sql_mode = ''")
    connection.exec_driver_sql(f"INSERT INTO {table} (id, f) VALUES (3, '0000-00-00')")
    expected: dict[str, tuple[pl.DataType, Any]] = {
        "id": (pl.Int64(), 1),
        "a": (pl.Decimal(38, 2), Decimal("12.10")),
        "b": (pl.UInt64(), 18446744073709551615),
        "c": (pl.Int64(), 1),
        "d": (NAIVE, datetime(2026, 1, 1, 10, 0, 0, 500_000)),
        "e": (MOMENT, datetime(2026, 1, 1, 5, tzinfo=UTC)),
        "f": (pl.Date(), date(2026, 2, 28)),
        "g": (pl.String(), "-100:00:01"),
        "h": (JSON, '{"a":12.10}'),
        "i": (pl.Binary(), b"\x00\xff"),
        "j": (pl.String(), "é"),
        "k": (pl.String(), "a"),
        "l": (pl.UInt64(), 257),
        "m": (pl.Int64(), 2026),
        "n": (pl.Float64(), 0.1),
        "o": (pl.Float64(), 0.1),
        "p": (pl.String(), "txt"),
        "q": (DIGITS, "1.500000000000000000000000000000"),
        "r": (pl.Binary(), b"\x00\x01"),
        "s": (pl.String(), "x,y"),
        "t": (pl.Int64(), -(2**63)),
    }
    found = read(sql(url, f"SELECT * FROM {table} WHERE j IS NULL OR j LIKE '%é%' ORDER BY id; -- all; of it"))
    assert found.columns == {name: dtype for name, (dtype, _) in expected.items()}
    assert found.rows[0] == {name: value for name, (_, value) in expected.items()}
    assert found.rows[1] == {"id": 2} | dict.fromkeys([name for name in expected if name != "id"])
    assert [row[:4] for row in found.rejected] == [(3, "bad_time", "f", "0000-00-00")]


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql"])
def test_mysql_urls(mysql: Any, scheme: str) -> None:
    url, _, _ = mysql
    url = sa.make_url(url).set(drivername=scheme).render_as_string(hide_password=False)
    assert read(sql(url, "SELECT 1 AS n")).rows == [{"n": 1}]


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgres_urls(postgres: Any, scheme: str) -> None:
    url, _, _ = postgres
    url = sa.make_url(url).set(drivername=scheme).render_as_string(hide_password=False)
    assert read(sql(url, "SELECT 1 AS n")).rows == [{"n": 1}]


def test_sqlite_types(sqlite: Any) -> None:
    url, database = sqlite
    database.execute('CREATE TABLE t (a integer, b text, c real, d blob, f numeric, g, "we""i:rd" text)')
    rows = [(1, "00123", 1.5, b"x", 12, None, "x"), (2**63 - 1, None, 2.0, None, 12.5, None, None)]
    database.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    database.commit()
    found = read(sql(url, "SELECT * FROM t -- to the end"))
    assert found.columns == {
        "a": pl.Int64(),
        "b": pl.String(),
        "c": pl.Float64(),
        "d": pl.Binary(),
        "f": pl.Float64(),
        "g": pl.String(),
        'we"i:rd': pl.String(),
    }
    assert [tuple(row.values()) for row in found.rows] == rows


def test_a_sqlite_column_of_two_types(sqlite: Any) -> None:
    url, database = sqlite
    database.execute("CREATE TABLE t (x)")
    database.executemany("INSERT INTO t VALUES (?)", [(None,), (1,), (2.5,), ("a",)])
    database.commit()
    with sized(1, 2):
        assert failure(sql(url, "SELECT x FROM t")) == (
            "the column 'x' holds integers (first in row 2) and text (first in row 4); "
            "make it one type in the query, such as CAST(x AS TEXT)"
        )
    database.execute("UPDATE t SET x = 9007199254740993 WHERE x = 'a'")
    database.commit()
    assert "holds integers (first in row 2) and floating point numbers (first in row 3)" in failure(
        sql(url, "SELECT x FROM t")
    )
    assert read(sql(url, "SELECT CAST(x AS TEXT) x FROM t")).rows[3] == {"x": "9007199254740993"}


def test_params_and_casts(postgres: Any, sqlite: Any) -> None:
    url, _, _ = postgres
    query = (
        "SELECT :a::int AS a, CAST(:b AS text) AS b, '12:30:00' AS t, "
        r"'\:no' AS n, 'x%' LIKE 'x%' AS l, '{1}'::int[] AS r"
    )
    found = read(sql(url, query, params={"a": "5", "b": "it's 100%"}))
    assert found.rows == [{"a": 5, "b": "it's 100%", "t": "12:30:00", "n": ":no", "l": True, "r": [1]}]
    assert failure(sql(url, "SELECT :amuont", params={"amount": 1})) == (
        "the query uses :amuont, but `params` does not give it; did you mean 'amount'? "
        r"(a colon that means no parameter is written \:)"
    )
    assert failure(sql(url, "SELECT 1", params={"day": 1})) == (
        "`params` gives 'day', which the query does not use; write :day where it belongs"
    )
    url, _ = sqlite
    assert read(sql(url, "SELECT :d AS d WHERE 'a%' LIKE 'a%'", params={"d": "x"})).rows == [{"d": "x"}]


QUERIES = [
    ("SELECT 1; DELETE FROM t", "`query` holds more than one statement; write one SELECT"),
    ("SELECT ';' AS a; -- fine;\n SELECT 2", "`query` holds more than one statement; write one SELECT"),
    ("DELETE FROM t", "`query` is not a query: it begins with 'DELETE FROM t'; write a SELECT"),
    ("/* SELECT */ UPDATE t SET a = 1", "`query` is not a query: it begins with 'UPDATE t SET a = 1'; write a SELECT"),
    ("-- nothing", "`query` is not a query: it begins with ''; write a SELECT"),
    (
        "SELECT 1 AS a, 2 AS a",
        "the query's result has two columns named 'a' (columns 1 and 2); give each its own name with AS",
    ),
]


@pytest.mark.parametrize(("query", "message"), QUERIES)
def test_statements_that_are_not_one_query(sqlite: Any, query: str, message: str) -> None:
    url, database = sqlite
    database.execute("CREATE TABLE t (a)")
    assert failure(sql(url, query)) == message


@pytest.mark.parametrize(
    "query",
    ["SELECT ';' AS a, ';' AS \"b;\" /* ; */;", "(SELECT 1)", "WITH x AS (SELECT 1 AS a) SELECT * FROM x ;\n-- end;"],
)
def test_statements_that_are_one_query(postgres: Any, query: str) -> None:
    url, _, _ = postgres
    assert len(read(sql(url, query)).rows) == 1


def test_nothing_is_written(postgres: Any, mysql: Any, sqlite: Any) -> None:
    url, connection, table = postgres
    connection.exec_driver_sql(f"CREATE TABLE {table} (a int)")
    connection.exec_driver_sql(
        f"CREATE FUNCTION f_{table}() RETURNS int LANGUAGE sql AS 'INSERT INTO {table} VALUES (1) RETURNING a'"
    )
    try:
        assert "read-only transaction" in failure(sql(url, f"SELECT f_{table}() AS a"))
        assert "WITH" in failure(sql(url, f"WITH x AS (DELETE FROM {table} RETURNING a) SELECT * FROM x"))
    finally:
        connection.exec_driver_sql(f"DROP FUNCTION f_{table}")
    url, connection, table = mysql
    connection.exec_driver_sql(f"CREATE TABLE {table} (a int)")
    connection.exec_driver_sql(
        f"CREATE FUNCTION f_{table}() RETURNS int BEGIN INSERT INTO {table} VALUES (1); RETURN 1; END"
    )
    try:
        assert "READ ONLY transaction" in failure(sql(url, f"SELECT f_{table}() AS a"))
    finally:
        connection.exec_driver_sql(f"DROP FUNCTION f_{table}")


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_one_snapshot(request: pytest.FixtureRequest, kind: str) -> None:
    url, connection, table = request.getfixturevalue(kind)
    numbers = {"postgres": "n FROM generate_series(1, 100000) AS n", "mysql": "seq FROM seq_1_to_100000"}[kind]
    connection.exec_driver_sql(f"CREATE TABLE {table} (n int)")
    connection.exec_driver_sql(f"INSERT INTO {table} SELECT {numbers}")
    source = opened(sql(url, f"SELECT n FROM {table}"))
    with closing(source):
        # Between the statement that tells the columns and the first row, and between rows.
        connection.exec_driver_sql(f"INSERT INTO {table} SELECT n + 100000 FROM {table}")
        frames = source.frames()
        first = next(frames).rows.height
        connection.exec_driver_sql(f"UPDATE {table} SET n = -n")
        connection.exec_driver_sql(f"DELETE FROM {table} WHERE n < -50000")
        assert first + sum(frame.rows.filter(pl.col("n") > 0).height for frame in frames) == 100_000
    assert len(read(sql(url, f"SELECT n FROM {table}")).rows) == 50_000


def test_the_connection_is_closed_as_soon_as_the_rows_are_read(postgres: Any) -> None:
    url, connection, _ = postgres
    name = f"loader_{uuid4().hex[:8]}"
    count = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'"

    def connections(expected: int) -> bool:
        """Whether there are as many as `expected`, as soon as the server has noticed."""
        deadline = datetime.now(UTC) + timedelta(seconds=5)
        while datetime.now(UTC) < deadline:
            if connection.exec_driver_sql(count).scalar() == expected:
                return True
        return False

    settings = sql(with_query(url, application_name=name), "SELECT generate_series(1, 10) AS n")
    source = opened(settings)
    assert connections(1)
    frames = source.frames()
    assert sum(frame.rows.height for frame in frames) == 10
    assert connections(0)
    other = opened(settings)
    other.close()
    assert connections(0)
    assert sum(frame.rows.height for frame in other.frames()) == 10, "read anew"


def test_a_query_that_fails_half_way(postgres: Any) -> None:
    url, _, _ = postgres
    shown = sa.make_url(url).set(query={}).render_as_string()
    with sized(1, 10):
        assert failure(sql(url, "SELECT 100 / (25 - n) AS x FROM generate_series(1, 100) AS n")) == (
            f"{shown}: the query failed after 20 rows: division by zero"
        )


def test_databases_that_refuse(postgres: Any, mysql: Any, tmp_path: Path) -> None:
    url, _, _ = postgres
    assert failure(sql(url, "SELECT * FROM no_such_table")).endswith(
        'the query fails: relation "no_such_table" does not exist'
    )
    said = failure(sql("postgresql://me:s%40cret@127.0.0.1:1/shop?sslpassword=s%40cret", "SELECT 1"))
    assert said.startswith("postgresql://me:***@127.0.0.1:1/shop cannot be opened: ")
    assert "refused" in said
    assert "cret" not in said
    url, _, _ = mysql
    assert "the query fails: Table '" in failure(sql(url, "SELECT * FROM no_such_table"))
    denied = sa.make_url(url).set(username="nobody_here", password="hunter2-0")
    said = failure(sql(denied.render_as_string(hide_password=False), "SELECT 1"))
    assert "cannot be opened: Access denied for user 'nobody_here'" in said
    assert "hunter2" not in said
    assert failure(sql(f"sqlite:///{tmp_path}/no.db", "SELECT 1")) == f"{tmp_path}/no.db: there is no such file"
    assert not (tmp_path / "no.db").exists()
    (tmp_path / "text.db").write_text("this is not a database, it is text")
    assert "file is not a database" in failure(sql(f"sqlite:///{tmp_path}/text.db", "SELECT 1 FROM x"))


def test_urls_that_cannot_be() -> None:
    assert failure(sql("orders.db", "SELECT 1")) == (
        "`url` is not a database URL; write one such as postgresql://user:password@host/database"
    )
    assert failure(sql("informix://me:secret@host/db", "SELECT 1")) == (
        "informix://me:***@host/db: 'informix' is not read here; there are postgresql, postgres, mysql, mariadb, "
        "sqlite, duckdb, snowflake, bigquery, redshift, mssql, oracle"
    )
    assert "the driver 'psycopg2' is not used here; write postgresql:// without one" in failure(
        sql("postgresql+psycopg2://host/db", "SELECT 1")
    )
    assert failure(sql("sqlite://", "SELECT 1")) == "the URL names no file; write sqlite:///path/to/file.db"


@pytest.mark.parametrize(("scheme", "module"), [("postgresql", "psycopg"), ("mysql", "pymysql")])
def test_a_driver_that_is_not_installed(scheme: str, module: str) -> None:
    hidden = {name: None for name in sys.modules if name.split(".")[0] == module} | {module: None}
    with patch.dict(sys.modules, hidden):
        extra = "postgres" if scheme == "postgresql" else scheme
        assert failure(sql(f"{scheme}://me:secret@127.0.0.1/db", "SELECT 1")) == (
            f"{scheme}://me:***@127.0.0.1/db: the driver is not installed; "
            f"run: pip install 'event-batch-loader[{extra}]'"
        )


T1, T2 = datetime(2026, 1, 1, 0, 30), datetime(2026, 1, 1, 1, 30)


@pytest.mark.parametrize(
    ("column", "cursor", "stored", "taken", "highest"),
    [
        ("id", {"initial": 1}, None, 1, 2),
        ("id", {"initial": "1"}, None, 1, 2),
        ("id", {"lag": 1}, 2, 1, 2),
        ("id", {}, 9, 0, 9),
        ("naive", {"initial": "2026-01-01T00:00:00Z"}, None, 1, T2),
        ("naive", {"initial": "2026-01-01 00:00:00"}, None, 2, T2),
        ("naive", {}, T1, 1, T2),
        ("naive", {"lag": "2h"}, T2, 2, T2),
        ("moment", {"initial": "2026-01-01T01:00:00Z"}, None, 1, T2.replace(tzinfo=UTC)),
        ("moment", {"initial": "2026-01-01T01:00:00"}, None, 2, T2.replace(tzinfo=UTC)),
        ("moment", {}, T1.replace(tzinfo=UTC), 1, T2.replace(tzinfo=UTC)),
        ("day", {"initial": "2026-01-01"}, None, 1, date(2026, 1, 2)),
        ("amount", {}, Decimal("1.10"), 1, Decimal("2.20")),
    ],
)
@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_cursors(
    request: pytest.FixtureRequest,
    kind: str,
    column: str,
    cursor: dict[str, Any],
    stored: CursorValue | None,
    taken: int,
    highest: CursorValue,
) -> None:
    url, connection, table = request.getfixturevalue(kind)
    moment = "timestamptz" if kind == "postgres" else "timestamp null"
    naive = "timestamp" if kind == "postgres" else "datetime"
    connection.exec_driver_sql(f"SET {'TimeZone' if kind == 'postgres' else 'time_zone'} = '+00:00'")
    connection.exec_driver_sql(
        f"CREATE TABLE {table} (id int, naive {naive}, moment {moment}, day date, amount decimal(10,2))"
    )
    connection.exec_driver_sql(
        f"INSERT INTO {table} VALUES (1, '{T1}', '{T1}', '2026-01-01', 1.10), (2, '{T2}', '{T2}', '2026-01-02', 2.20)"
    )
    settings = sql(url, f"SELECT * FROM {table} WHERE {column} > :cursor", cursor={"column": column, **cursor})
    found = read(settings, cursor=stored, timezone="Europe/Paris")
    assert len(found.rows) == taken
    assert found.cursor == highest
    assert type(found.cursor) is type(highest)


def test_cursors_in_sqlite(sqlite: Any) -> None:
    url, database = sqlite
    database.execute("CREATE TABLE t (id integer, at text)")
    database.executemany("INSERT INTO t VALUES (?, ?)", [(1, "2026-01-01"), (2, "2026-01-02"), (3, None)])
    database.commit()
    for column, initial, stored, taken, highest in (
        ("id", 1, None, 2, 3),
        ("id", None, 2, 1, 3),
        ("id", None, 9, 0, 9),
        ("at", "2026-01-01", None, 1, "2026-01-02"),
        ("at", None, "2026-01-05", 0, "2026-01-05"),
    ):
        settings = sql(url, f"SELECT * FROM t WHERE {column} > :cursor", cursor={"column": column, "initial": initial})
        found = read(settings, cursor=stored)
        assert (len(found.rows), found.cursor) == (taken, highest)
    settings = sql(url, "SELECT * FROM t WHERE :cursor IS NOT NULL OR 1", cursor={"column": "at", "initial": "x"})
    assert [row[:3] for row in read(settings).rejected] == [(3, "missing_cursor", "at")]


def test_cursors_that_cannot_be(sqlite: Any) -> None:
    url, database = sqlite
    database.execute("CREATE TABLE t (id integer)")
    cursor = {"column": "id", "initial": 1}
    assert failure(sql(url, "SELECT id FROM t", cursor=cursor)) == (
        "the query does not use :cursor; add a condition such as WHERE id > :cursor"
    )
    assert failure(sql(url, "SELECT id FROM t WHERE id > :cursor")) == (
        "the query uses :cursor; write `cursor:` with its `column` and `initial` under `source:`"
    )
    assert failure(sql(url, "SELECT id FROM t WHERE id > :cursor", cursor={"column": "id"})) == (
        "the first run needs to know where to start; write `initial` under `cursor:`"
    )
    assert failure(sql(url, "SELECT id AS n FROM t WHERE id > :cursor", cursor=cursor)) == (
        "the cursor's column 'id' is not there; it has: n"
    )


def test_the_query_streams(postgres: Any) -> None:
    """The first rows are there long before the last one is computed."""
    url, _, _ = postgres
    with sized(1, 10):
        # PostgreSQL sends 8 kB at a time.
        query = "SELECT repeat('x', 10000) FROM generate_series(1, 30) AS n WHERE n < 25 OR pg_sleep(1) IS NOT NULL"
        source = opened(sql(url, query))
        started = datetime.now(UTC)
        frames = source.frames()
        assert next(frames).rows.height == 10
        assert datetime.now(UTC) - started < timedelta(seconds=1)
        source.close()


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_query_that_is_given_up_does_not_run_on(request: pytest.FixtureRequest, kind: str) -> None:
    url, _, _ = request.getfixturevalue(kind)
    rows = {"postgres": "generate_series(1, 100000000) AS n", "mysql": "seq AS n FROM seq_1_to_100000000"}[kind]
    source = opened(sql(url, f"SELECT {rows}"))
    started = datetime.now(UTC)
    next(source.frames())
    source.close()
    assert datetime.now(UTC) - started < timedelta(seconds=5)
