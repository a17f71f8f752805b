"""SQL queries against DuckDB."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
import polars as pl
import pytest

from loader.jsontype import DIGITS, JSON
from tests.sources.helpers import failure, opened, read, sized

NAIVE = pl.Datetime("us")
MOMENT = pl.Datetime("us", "UTC")


@pytest.fixture
def url(tmp_path: Path) -> str:
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE TABLE t AS SELECT range AS id, 'x' || range AS name FROM range(300000)")
    return f"duckdb:///{path}"


def sql(url: str, query: str, **keys: Any) -> dict[str, Any]:
    return {"type": "sql", "url": url, "query": query, **keys}


LARGE = Decimal("12345678901234567890123456789012345.678")

TYPES: dict[str, tuple[str, Any, Any]] = {
    "a": ("12.10::decimal(10,2)", pl.Decimal(10, 2), Decimal("12.10")),
    "b": (f"{LARGE}::decimal(38,3)", pl.Decimal(38, 3), LARGE),
    "c": ("9007199254740993::bigint", pl.Int64(), 9007199254740993),
    "d": ("18446744073709551615::ubigint", pl.UInt64(), 18446744073709551615),
    "e": ("(-170141183460469231731687303715884105728)::hugeint", DIGITS, "-170141183460469231731687303715884105728"),
    "f": ("0.1::float", pl.Float64(), 0.1),
    "g": ("0.1::double", pl.Float64(), 0.1),
    "h": ("timestamptz '2026-01-01 10:00:00.5+02'", MOMENT, datetime(2026, 1, 1, 8, 0, 0, 500_000, tzinfo=UTC)),
    "i": ("timestamp '2026-01-01 10:00:00.123456'", NAIVE, datetime(2026, 1, 1, 10, 0, 0, 123_456)),
    "j": ("timestamp_s '2026-01-01 10:00:00'", NAIVE, datetime(2026, 1, 1, 10)),
    "k": ("date '2026-02-28'", pl.Date(), date(2026, 2, 28)),
    "l": ("time '10:00:00.5'", pl.String(), "10:00:00.5"),
    "m": ("uuid '7d3dda56-413f-4479-bca9-b0d31c7196c3'", pl.String(), "7d3dda56-413f-4479-bca9-b0d31c7196c3"),
    "n": ("'a'::enum('a', 'b')", pl.String(), "a"),
    "o": ("true", pl.Boolean(), True),
    "p": (r"'\x00\xFF'::blob", pl.Binary(), b"\x00\xff"),
    "q": ("""'{"a": 12.10, "n": 9007199254740993}'::json""", JSON, '{"a":12.10,"n":9007199254740993}'),
    "r": ("[1, null, 9007199254740993]", JSON, "[1,null,9007199254740993]"),
    "s": ("[1.10, 90071992547409.93]::decimal(18,2)[]", JSON, "[1.10,90071992547409.93]"),
    "t": (
        r"{'a': 1.10::decimal(10,2), 'b\:c': [date '2026-01-01'], 'd': 1::hugeint, 'e': null::text}",
        JSON,
        '{"a":1.10,"b:c":["2026-01-01"],"d":1,"e":null}',
    ),
    "u": ("map {'NaN': 1.0::decimal(3,1)}", JSON, '{"NaN":1.0}'),
    "v": ("array_value(1, 2)", JSON, "[1,2]"),
    "w": ("interval '1 day 2 hours'", pl.String(), "1 day 02:00:00"),
    "x": ("""[{'j': '{"x": 1.10}'::json}]""", pl.String(), """[{'j': '{"x": 1.10}'}]"""),
    "y": ("''", pl.String(), ""),
    'we"i:rd': ("'00123'", pl.String(), "00123"),
}


def test_types(url: str) -> None:
    names = ['"' + name.replace('"', '""').replace(":", r"\:") + '"' for name in TYPES]
    query = "SELECT " + ", ".join(
        f"{value} AS {name}" for name, (value, _, _) in zip(names, TYPES.values(), strict=True)
    )
    query += " UNION ALL SELECT " + ", ".join("null" for _ in TYPES)
    found = read(sql(url, query))
    assert found.columns == {name: dtype for name, (_, dtype, _) in TYPES.items()}
    assert found.rows == [{name: value for name, (_, _, value) in TYPES.items()}, dict.fromkeys(TYPES)]


def test_values_that_are_no_numbers_or_times_reject_their_row(url: str) -> None:
    query = (
        "SELECT * FROM (VALUES (1, ['1.5', 'nan']::double[], date '2026-01-01'), (2, [2.5], 'infinity'), "
        "(3, [1e300], '9999-12-31'), (4, ['-inf']::double[], '2026-01-01')) v (id, l, d)"
    )
    found = read(sql(url, query))
    assert [row["id"] for row in found.rows] == [3]
    assert [row[:3] for row in found.rejected] == [(1, "not_finite", "l"), (2, "bad_time", "d"), (4, "not_finite", "l")]
    assert json.loads(found.records[2])["d"] == "infinity"


def test_the_order_of_the_query(url: str) -> None:
    query = "SELECT id, name FROM t WHERE name LIKE 'x%' AND id >= :low ORDER BY id DESC"
    found = read(sql(url, query, params={"low": 5}))
    assert [row["id"] for row in found.rows] == list(range(299_999, 4, -1))


@pytest.mark.parametrize(
    ("column", "cursor", "stored", "taken", "highest"),
    [
        ("id", {"initial": 299_990}, None, 9, 299_999),
        ("id", {"lag": 2}, 299_999, 2, 299_999),
        ("moment", {"initial": "2026-01-01T00:00:00Z"}, None, 2, datetime(2026, 1, 3, tzinfo=UTC)),
        ("moment", {}, datetime(2026, 1, 2, tzinfo=UTC), 1, datetime(2026, 1, 3, tzinfo=UTC)),
    ],
)
def test_cursors(url: str, column: str, cursor: dict[str, Any], stored: Any, taken: int, highest: Any) -> None:
    days = (
        "SELECT unnest(['2026-01-01 00:00:00Z', '2026-01-02 00:00:00Z', '2026-01-03 00:00:00Z'])::timestamptz AS moment"
    )
    query = f"SELECT * FROM {'t' if column == 'id' else f'({days})'} WHERE {column} > :cursor"
    found = read(sql(url, query, cursor={"column": column, **cursor}), cursor=stored)
    assert (len(found.rows), found.cursor) == (taken, highest)


def test_nothing_is_written_and_nothing_created(url: str, tmp_path: Path) -> None:
    assert "is not a query" in failure(sql(url, "DELETE FROM t"))
    assert failure(sql(f"duckdb:///{tmp_path}/no.duckdb", "SELECT 1")) == f"{tmp_path}/no.duckdb: there is no such file"
    assert failure(sql("duckdb://", "SELECT 1")) == "the URL names no file; write duckdb:///path/to/file.db"
    assert not (tmp_path / "no.duckdb").exists()


@contextmanager
def opened_elsewhere(url: str, read_only: bool) -> Iterator[None]:
    program = f"import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only={read_only}); print('open', flush=True)"
    command = [sys.executable, "-c", f"{program}; sys.stdin.read()", url.removeprefix("duckdb:///")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        yield
        other.communicate()


def test_a_file_that_another_process_writes(url: str) -> None:
    with opened_elsewhere(url, read_only=False):
        said = failure(sql(url, "SELECT 1"))
    assert f"{url} cannot be opened: " in said
    assert "lock" in said


def test_a_file_that_another_process_reads(url: str) -> None:
    with opened_elsewhere(url, read_only=True):
        assert len(read(sql(url, "SELECT id FROM t")).rows) == 300_000


def test_nobody_writes_while_the_rows_are_read(url: str) -> None:
    program = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('DELETE FROM t')"
    write = [sys.executable, "-c", program, url.removeprefix("duckdb:///")]
    with sized(1, 1000):
        frames = opened(sql(url, "SELECT id FROM t")).frames()
        first = next(frames).rows.height
        assert subprocess.run(write, capture_output=True).returncode != 0
        assert first + sum(frame.rows.height for frame in frames) == 300_000
    assert subprocess.run(write, capture_output=True).returncode == 0
    assert read(sql(url, "SELECT id FROM t")).rows == []


def test_queries_that_fail(url: str) -> None:
    assert "no_such_table does not exist" in failure(sql(url, "SELECT * FROM no_such_table"))
    assert "the query failed after 0 rows" in failure(sql(url, "SELECT error('stop') AS a FROM t"))


def test_no_progress_bar_among_the_results(url: str) -> None:
    assert read(sql(url, "SELECT current_setting('enable_progress_bar') AS shown")).rows == [{"shown": False}]


def test_a_driver_that_is_not_installed(url: str) -> None:
    hidden = {name: None for name in sys.modules if name.startswith("duckdb")} | {"duckdb": None}
    with patch.dict(sys.modules, hidden):
        assert failure(sql(url, "SELECT 1")) == (
            f"{url}: the driver is not installed; run: pip install 'event-batch-loader[duckdb]'"
        )
