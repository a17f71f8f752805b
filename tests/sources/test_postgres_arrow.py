"""PostgreSQL read by ADBC gives what it gives by COPY."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict

from loader.convert import UTC_TIME
from loader.sources.databases import postgres, postgres_arrow
from loader.sources.sql_types import Column
from tests.sources.helpers import Everything, failure, opened, plain, read, sized

# The awkward values of each type; the first ones are null in half of the rows.
VALUES: dict[str, list[str]] = {
    "text": ["''", "' '", r"'\\N'", r"'a\b'", r"E'\t\n\r\b\\'", "'é😀'", "'null'", "repeat('x', 3000)"],
    "varchar(9)": ["'x'", "''"],
    "char(5)": ["'ab'", "''"],
    '"char"': ["'a'", "''"],
    "name": ["'n'", "''"],
    "bool": ["true", "false"],
    "int2": ["-32768", "32767"],
    "int4": ["-2147483648", "0"],
    "int8": ["-9223372036854775808", "9007199254740993"],
    "oid": ["0", "4294967295"],
    "float4": ["0.1", "-0", "'NaN'", "'-Infinity'", "1e-45", "3.4028235e38"],
    "float8": ["0.1", "-0", "'NaN'", "'Infinity'", "5e-324", "1.7976931348623157e308"],
    "numeric": ["12.10", "0", "-1e-20", "1e60"],
    "numeric(10,2)": ["12.10", "-99999999.99"],
    "money": ["12.10"],
    "bytea": [r"'\\x'", r"'\\x00ff5c'"],
    "json": ["""'{"a": 12.10,  "b": "x : y"}'""", "'null'", "'[]'"],
    "jsonb": ["""'{"b": 1, "a": "\\u00e9 "}'""", "'null'"],
    "uuid": ["'7d3dda56-413f-4479-bca9-b0d31c7196c3'"],
    "inet": ["'10.0.0.1'", "'10.0.0.0/8'"],
    "cidr": ["'10.0.0.0/8'"],
    "macaddr": ["'08:00:2b:01:02:03'"],
    "interval": ["'1 year 2 days -03:00:00.5'", "'0'"],
    "time": ["'10:00:00.5'", "'24:00'"],
    "timetz": ["'10:00:00+05:30'"],
    "int4range": ["'[1,5)'", "'empty'"],
    "point": ["'(1,2)'"],
    "bit(3)": ["'101'"],
    "xml": ["'<a>é</a>'"],
    "tsvector": ["'a b'"],
    "xid": ["'7'"],
    "regclass": ["'pg_class'"],
    "int4[]": ["'{1,null,2}'", "'{}'"],
    "float4[]": ["'{0.1,null}'"],
    "text[]": ["""'{a,null,"x y","\\"",""}'"""],
    "numeric[]": ["'{1.10,null}'"],
    "jsonb[]": ["""array['{"a": 1}'::jsonb, null]"""],
    "date[]": ["'{2026-01-01,infinity}'"],
    "bool[]": ["'{t,f}'"],
    "bytea[]": [r"array['\\x00ff'::bytea]"],
    "date": ["'2026-02-28'", "'1000-01-01'", "'9999-12-31'", "'0999-12-31'"],
    "timestamp": ["'2026-01-01 10:00:00.5'", "'1000-01-01'", "'9999-12-31 23:59:59.999999'", "'0999-12-31 23:59:59'"],
    "timestamptz": [
        "'2026-01-01 10:00+02'",
        "'1890-01-01 00:00+00:09:21'",
        "'9999-12-30 12:00Z'",
        "'1000-01-02 12:00Z'",
    ],
}
TIMES = [
    "'infinity'",
    "'-infinity'",
    "'4713-01-01 BC'",
    "'0001-01-01 BC'",
    "'0001-01-01'",
    "'10000-01-01'",
    "'9999-12-31'",
]


@pytest.fixture
def url(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("LOADER_POSTGRES", raising=False)
    return postgres_url


@pytest.fixture
def database(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries that are read by COPY."""
    queries = []
    genuine: Callable[..., Any] = postgres._copied

    def note(driver: Any, query: str, *rest: Any) -> Any:
        queries.append(query)
        return genuine(driver, query, *rest)

    monkeypatch.setattr(postgres, "_copied", note)
    return queries


def both_ways(settings: dict[str, Any], copied: list[str], **options: Any) -> Everything:
    """What is read by ADBC, which is what is read by COPY."""
    before = len(copied)
    found = read(settings, **options)
    assert len(copied) == before, "read by COPY"
    with patch.dict("os.environ", LOADER_POSTGRES="copy"):
        other = read(settings, **options)
    assert len(copied) == before + 1
    assert found.columns == other.columns
    assert found.cursor == other.cursor
    for one, two in zip(found.frames, other.frames, strict=True):
        assert plain(one.rows).equals(plain(two.rows), null_equal=True)
        assert one.rejected.equals(two.rejected)
        assert one.records.equals(two.records)
    return found


def query_of(values: dict[str, list[str]], count: int) -> str:
    """A query of `count` rows with a column for each type."""
    columns = []
    for index, (kind, given) in enumerate(values.items()):
        cases = " ".join(f"WHEN {at} THEN CAST({value} AS {kind})" for at, value in enumerate(given))
        columns.append(f"CASE (n + {index}) % {len(given) + 1} {cases} END AS c{index}")
    return f"SELECT n, {', '.join(columns)} FROM generate_series(1, {count}) AS n".replace(":", r"\:")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "Asia/Kolkata", "<-03>+03"])
def test_every_type(url: str, copied: list[str], zone: str) -> None:
    options = f"-c TimeZone={zone}"
    there = sa.make_url(url).update_query_dict({"options": options}).render_as_string(hide_password=False)
    settings = {"type": "sql", "url": there, "query": query_of(VALUES, 100)}
    for rows in (7, 20_000):
        with sized(1, rows):
            found = both_ways(settings, copied)
        assert len(found.rows) == 100
        assert all(any(row[name] is not None for row in found.rows) for name in found.columns)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "America/Los_Angeles"])
def test_rows_that_are_rejected(url: str, copied: list[str], zone: str) -> None:
    kinds = ("date", "timestamp", "timestamptz")
    values = {kind: [*VALUES[kind], *TIMES] for kind in kinds}
    values |= {"numeric": ["1.5", "'NaN'", "2"], "numeric(10,2)": ["1", "2", "3", "'NaN'"], "int4": ["1"]}
    options = f"-c TimeZone={zone}"
    there = sa.make_url(url).update_query_dict({"options": options}).render_as_string(hide_password=False)
    query = query_of(values, 400)
    for rows in (7, 20_000):
        with sized(1, rows):
            found = both_ways({"type": "sql", "url": there, "query": query}, copied)
            assert {rejection[1] for rejection in found.rejected} == {"bad_time", "not_finite"}
            assert 0 < len(found.rows) < 400
            # The column of the cursor is null in half of the rows.
            ones = f"SELECT * FROM ({query}) AS q WHERE c5 IS NULL OR c5 > :cursor"
            cursor = {"column": "c5", "initial": 0}
            found = both_ways({"type": "sql", "url": there, "query": ones, "cursor": cursor}, copied)
            assert {rejection[1] for rejection in found.rejected} == {"bad_time", "not_finite", "missing_cursor"}


def test_times_of_all_years(url: str, copied: list[str]) -> None:
    query = (
        r"SELECT t, t\:\:timestamp AS local, t\:\:date AS day FROM (SELECT timestamptz '0990-01-01' "
        "+ n * interval '11 days 7 hours 13.000007 seconds' AS t FROM generate_series(0, 310000) AS n) AS q"
    )
    there = sa.make_url(url).update_query_dict({"options": "-c TimeZone=Europe/Dublin"})
    settings = {"type": "sql", "url": there.render_as_string(hide_password=False), "query": query}
    found = both_ways(settings, copied)
    assert sum(frame.rows.height for frame in found.frames) > 290_000
    assert [frame.rows.height for frame in found.frames[:-2]].count(20_000) >= 14


def test_types_of_ones_own(url: str, database: psycopg.Connection, copied: list[str]) -> None:
    name = f"loader_{uuid4().hex[:8]}"
    with database.transaction(force_rollback=False):
        database.execute(f"CREATE SCHEMA {name}")
    try:
        for words in (
            "TYPE {0}.mood AS ENUM ('sad', 'ok')",
            "TYPE {0}.pair AS (a int, b text)",
            "DOMAIN {0}.padded AS char(5)",
            "DOMAIN {0}.day AS date",
            'TABLE {0}.t (a {0}.mood, b {0}.pair, c {0}.padded, d {0}.day, e {0}.mood[], "f""%s:x" int)',
        ):
            database.execute(f"CREATE {words.format(name)}")
        database.execute(
            f"""INSERT INTO {name}.t VALUES ('ok', (null, null), 'x', 'infinity', '{{ok,null}}', 1),
            (null, null, null, null, null, null), ('sad', (1, 'a b'), '', '2026-01-01', '{{}}', 2)"""
        )
        found = both_ways({"type": "sql", "url": url, "query": f"SELECT * FROM {name}.t"}, copied)
        assert [row["b"] for row in found.rows] == [None, '(1,"a b")']
        assert [row["c"] for row in found.rows] == [None, "     "]
    finally:
        database.execute(f"DROP SCHEMA {name} CASCADE")


def test_params_and_words_of_errors(url: str, copied: list[str]) -> None:
    query = r"SELECT :a\:\:text AS a, '%s $1 ? \:b' AS b, 100 / (:n - n) AS x FROM generate_series(1, 50) AS n"
    params: dict[str, Any] = {"a": "it's \\ 100%", "n": 51}
    settings = {"type": "sql", "url": url, "query": query, "params": params}
    assert both_ways(settings, copied).rows[0] == {"a": "it's \\ 100%", "b": "%s $1 ? :b", "x": 2}
    before = len(copied)
    with sized(1, 10):
        params["n"] = 25
        assert failure(settings).endswith("the query failed after 20 rows: division by zero")
    assert len(copied) == before


def test_what_the_query_computes_is_computed_once(database: psycopg.Connection) -> None:
    moment = "SELECT max(now() + n * interval '1 s') FROM generate_series(1, t.i) AS n"
    query = f"SELECT ({moment}) FROM generate_series(1, 9) AS t(i)"
    columns = [(Column("at", UTC_TIME, "time"), "timestamptz")]
    plan = database.execute(f"EXPLAIN {postgres_arrow._select(query, columns, None)}").fetchall()
    assert sum("Aggregate" in line for (line,) in plan) == 1


def test_the_rows_come_by_copy_where_adbc_cannot_read(
    url: str, database: psycopg.Connection, copied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def reads(there: str = url, query: str = "SELECT 7 AS n") -> bool:
        before = len(copied)
        assert read({"type": "sql", "url": there, "query": query}).rows == [{"n": 7}]
        return len(copied) == before + 1

    assert not reads()
    with patch.dict(sys.modules, {"adbc_driver_postgresql": None}):
        assert reads()
    with patch.object(postgres_arrow, "_OPTIONS", {"adbc.postgresql.type_resolver_mode": "no such mode"}):
        assert reads()
    role = f"loader_{uuid4().hex[:8]}"
    database.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")
    try:
        assert reads(sa.make_url(url).set(username=role).render_as_string(hide_password=False))
    finally:
        database.execute(f"DROP ROLE {role}")
    # A server that has no snapshots to share fails the transaction.
    with patch.object(postgres_arrow, "_SNAPSHOT", "SELECT no_such_function()"):
        assert reads(query=r"SELECT 7 AS n WHERE current_setting('datestyle') LIKE 'ISO%'")


def test_closing_ends_the_query(url: str, database: psycopg.Connection, copied: list[str]) -> None:
    name = f"loader_{uuid4().hex[:8]}"
    there = sa.make_url(url).update_query_dict({"application_name": name}).render_as_string(hide_password=False)

    def connections() -> int:
        found = database.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [name]).fetchone()
        assert found is not None
        return int(found[0])

    # The rows after the first frame take a minute.
    query = r"SELECT n, CASE WHEN n > 45000 THEN pg_sleep(60)\:\:text END AS s FROM generate_series(1, 46000) AS n"
    with closing(opened({"type": "sql", "url": there, "query": query})) as source:
        frames = source.frames()
        assert next(frames).rows.height == 20_000
        assert connections() == 1
    began = time.monotonic()
    while connections():
        assert time.monotonic() - began < 5
    assert copied == []


def test_other_threads_go_on_while_rows_are_waited_for(url: str, copied: list[str]) -> None:
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.wait(0.02):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        query = (
            r"SELECT n, CASE WHEN n IN (1, 30000) THEN pg_sleep(1)\:\:text END AS s FROM generate_series(1, 40000) AS n"
        )
        assert sum(f.rows.height for f in read({"type": "sql", "url": url, "query": query}).frames) == 40_000
    finally:
        done.set()
        thread.join()
    assert max(later - earlier for earlier, later in pairwise(ticks)) < 0.7
    assert copied == []


@pytest.mark.parametrize(
    ("encrypted", "given", "mode"),
    [
        (True, None, "require"),
        (True, "prefer", "require"),
        (True, "verify-full", "verify-full"),
        (False, "prefer", "prefer"),
        (False, None, None),
    ],
)
def test_the_second_connection_is_like_the_first(encrypted: bool, given: str | None, mode: str | None) -> None:
    parameters = {"host": "db", "user": "me"} | ({} if given is None else {"sslmode": given})
    info = SimpleNamespace(get_parameters=lambda: dict(parameters), password="it's \\ secret")
    found = conninfo_to_dict(
        postgres_arrow._conninfo(SimpleNamespace(info=info, pgconn=SimpleNamespace(ssl_in_use=encrypted)))
    )
    assert found.pop("sslmode", None) == mode
    assert found == {"host": "db", "user": "me", "password": "it's \\ secret"}
