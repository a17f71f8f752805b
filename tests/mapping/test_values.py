"""What a value and its options make of a column, and the rows that they reject."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader import jsontext
from loader.jsontype import JSON
from loader.rejection import REASONS, ROW, SCHEMA
from tests.mapping.support import one_value

PARIS = "timezone: Europe/Paris\n"
UTC_TIME = pl.Datetime("us", "UTC")


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def shown(events: pl.DataFrame, column: str = "properties.x") -> list[Any]:
    """The values of a column as they stand in JSON text."""
    return events.select(jsontext.value(pl.col(column), events.schema[column])).to_series().to_list()


def reasons(rejected: pl.DataFrame) -> list[tuple[int, str, str, str | None]]:
    assert dict(rejected.schema) == SCHEMA
    assert set(rejected["reason"]) <= set(REASONS)
    return [(row["row"], row["reason"], row["field"], row["value"]) for row in rejected.iter_rows(named=True)]


# (value in YAML, column, what is sent as JSON text)
VALUES: list[tuple[str, pl.Series, list[str | None]]] = [
    ("a", pl.Series(["00123", " x ", None, ""]), ['"00123"', '" x "', None, '""']),
    ("5", pl.Series(["a"]), ["5"]),
    ("-0.5", pl.Series(["a"]), ["-0.5"]),
    ("true", pl.Series(["a"]), ["true"]),
    ("{const: NO}", pl.Series(["a", None]), ['"NO"', '"NO"']),
    ("{const: 9007199254740993}", pl.Series(["a"]), ["9007199254740993"]),
    (
        "{const: 123456789012345678901234567890123456789012345}",
        pl.Series(["a"]),
        ["123456789012345678901234567890123456789012345"],
    ),
    ("{const: [a, 1, null, {b: c}]}", pl.Series(["a"]), ['["a",1,null,{"b":"c"}]']),
    ("{const: [a, b]}", pl.Series(["a"]), ['["a","b"]']),
    ("{const: {a: 1.5}}", pl.Series(["a"]), ['{"a":1.5}']),
    ("upper(a)", pl.Series(["x", None]), ['"X"', None]),
    (
        "{expr: a, lookup: {G: gold, S: silver}, default: none}",
        pl.Series(["G", "S", "X", None]),
        ['"gold"', '"silver"', '"none"', '"none"'],
    ),
    ("{expr: a, lookup: {G: gold}, default: null}", pl.Series(["G", "X", None]), ['"gold"', None, None]),
    ("{expr: a, lookup: {G: gold, X: null}}", pl.Series(["G", "X", None]), ['"gold"', None, None]),
    ("{expr: a, lookup: {1: one, -2: two}}", pl.Series([1, -2]), ['"one"', '"two"']),
    ("{expr: a, lookup: {001: one}}", pl.Series(["001"]), ['"one"']),
    ("{expr: a, lookup: {true: 1, False: 0}}", pl.Series([True, False, None]), ["1", "0", None]),
    ("{expr: a, lookup: {a: 1, b: 1.5}}", pl.Series(["a", "b"]), ["1.0", "1.5"]),
    ("{expr: a, lookup: {a: 1, b: x}, as: text}", pl.Series(["a", "b"]), ['"1"', '"x"']),
    ("{expr: a, default: 0}", pl.Series([1, None]), ["1", "0"]),
    ("{expr: a, default: 0, as: integer}", pl.Series(["1", None, " +2 "]), ["1", "0", "2"]),
    ("{expr: a, default: none, as: text}", pl.Series([1, None]), ['"1"', '"none"']),
    ("{expr: a, default: 1.5}", pl.Series([Decimal("2.25"), None]), ["2.25", "1.50"]),
    ("{expr: a, default: x}", pl.Series([None, None]), ['"x"', '"x"']),
    ("{expr: a, as: integer}", pl.Series(["-5", None]), ["-5", None]),
    ("{expr: a, as: number}", pl.Series(["1e3", ".5"]), ["1000.0", "0.5"]),
    ("{expr: a, as: boolean}", pl.Series(["yes", "F", None]), ["true", "false", None]),
    (
        "{expr: a, as: decimal}",
        pl.Series(["12.10", "12.1", "007", "+1", "-0.50", "-.5", "1.", None]),
        ["12.10", "12.1", "7", "1", "-0.50", "-0.5", "1", None],
    ),
    ("{expr: a, as: decimal}", pl.Series(["9" * 60 + ".1"]), ["9" * 60 + ".1"]),
    ("{expr: a, as: decimal}", pl.Series([Decimal("12.10"), Decimal("0.05")]), ["12.10", "0.05"]),
    ("{expr: a, as: decimal}", pl.Series([2**63], dtype=pl.UInt64), [str(2**63)]),
    ("{expr: a, as: text}", pl.Series([1.5, 100.0]), ['"1.5"', '"100.0"']),
    ("{expr: a, as: date}", pl.Series(["2026-03-01"]), ['"2026-03-01"']),
    ("{expr: a, as: date, format: '%d/%m/%Y'}", pl.Series(["01/03/2026"]), ['"2026-03-01"']),
    (
        "{expr: a, as: datetime, timezone: UTC}",
        pl.Series(["2026-03-01 10:00", "2026-03-01T10:00:00+02:00"]),
        ['"2026-03-01T10:00:00Z"', '"2026-03-01T08:00:00Z"'],
    ),
    ("{expr: a, as: datetime, unit: ms}", pl.Series([1_000, None]), ['"1970-01-01T00:00:01Z"', None]),
    ("{expr: a, as: datetime, unit: s}", pl.Series(["1.5"]), ['"1970-01-01T00:00:01.500Z"']),
    (
        "{expr: a, as: datetime, format: '%d.%m.%Y %H:%M', timezone: Europe/Paris}",
        pl.Series(["01.07.2026 10:00"]),
        ['"2026-07-01T08:00:00Z"'],
    ),
    ("{expr: a, hash: sha256}", pl.Series(["é", None]), [f'"{hashlib.sha256("é".encode()).hexdigest()}"', None]),
    ("{expr: a, as: integer, hash: sha256}", pl.Series(["007"]), [f'"{hashlib.sha256(b"7").hexdigest()}"']),
    ("{expr: a, as: decimal, hash: sha256}", pl.Series(["07.10"]), [f'"{hashlib.sha256(b"7.10").hexdigest()}"']),
    ("{expr: a, lookup: {x: y}, hash: sha256}", pl.Series(["x"]), [f'"{hashlib.sha256(b"y").hexdigest()}"']),
    ("a", pl.Series([clock(10, 30)]), ['"10:30:00"']),
    ("a", pl.Series([date(2026, 3, 1)]), ['"2026-03-01"']),
    ("a", pl.Series([[1, None], None]), ["[1,null]", None]),
    ("a", pl.Series([{"b": 1, "c": None}]), ['{"b":1}']),
    ("a", pl.Series(["x", None], dtype=pl.Categorical), ['"x"', None]),
    ("{expr: a, as: integer}", pl.Series(["7"], dtype=pl.Categorical), ["7"]),
    ("a", pl.Series([None, None]), [None, None]),
    ("a", pl.Series([2**100], dtype=pl.Int128), [str(2**100)]),
    ("a", pl.Series(['{"b":1.50}', None]).ext.to(JSON), ['{"b":1.50}', None]),
    ("{expr: a, as: text}", pl.Series(["1.50"]).ext.to(JSON), ['"1.50"']),
    ("{expr: a, as: decimal}", pl.Series(["1.50"]).ext.to(JSON), ["1.50"]),
    ("CAST(a AS DOUBLE) * 2", pl.Series(["1.50"]).ext.to(JSON), ["3.0"]),
]


@pytest.mark.parametrize(("value", "column", "texts"), VALUES)
def test_values(tmp_path: Path, value: str, column: pl.Series, texts: list[str | None]) -> None:
    result = one_value(tmp_path, value, column)
    assert shown(result.events) == texts
    assert result.rejected.is_empty()


BAD: list[tuple[str, str, pl.Series, list[tuple[str, str | None, str]]]] = [
    (
        "",
        "{expr: a, lookup: {G: gold}}",
        pl.Series(["X"]),
        [("not_in_lookup", "X", "properties.x (a): 'X' is not in the lookup table, and there is no default")],
    ),
    (
        "",
        "{expr: a, as: integer}",
        pl.Series(["abc"]),
        [("bad_type", "abc", "properties.x (a): 'abc' is not a whole number of at most 64 bits")],
    ),
    (
        "",
        "{expr: a, as: integer}",
        pl.Series(["99999999999999999999"]),
        [("bad_type", "9" * 20, f"properties.x (a): '{'9' * 20}' is not a whole number of at most 64 bits")],
    ),
    (
        "",
        "{expr: a, as: decimal}",
        pl.Series(["1e5"]),
        [("bad_type", "1e5", "properties.x (a): '1e5' is not a decimal number such as 12.10")],
    ),
    (
        "",
        "{expr: a, as: boolean}",
        pl.Series(["2"]),
        [("bad_type", "2", "properties.x (a): '2' is not true or false (or yes/no, t/f, y/n, 1/0)")],
    ),
    (
        "",
        "{expr: a, as: date}",
        pl.Series(["2026-02-30"]),
        [("bad_time", "2026-02-30", "properties.x (a): '2026-02-30' is not a date in ISO 8601, such as 2026-03-01")],
    ),
    (
        "",
        "{expr: a, as: date, format: '%d/%m/%Y'}",
        pl.Series(["2026-02-01"]),
        [("bad_time", "2026-02-01", "properties.x (a): '2026-02-01' is not a time in the format %d/%m/%Y")],
    ),
    (
        "",
        "{expr: a, as: datetime, unit: s}",
        pl.Series([2**62]),
        [
            (
                "bad_time",
                str(2**62),
                (
                    f"properties.x (a): '{2**62}' is not a time in s since 1970, in the years 1 to 9999; "
                    "milliseconds are read with `unit: ms`"
                ),
            )
        ],
    ),
    (
        PARIS,
        "a",
        pl.Series([datetime(2026, 3, 29, 2, 30)]),
        [
            (
                "time_skipped",
                "2026-03-29T02:30:00",
                "properties.x (a): the clocks of Europe/Paris skip '2026-03-29T02:30:00'",
            )
        ],
    ),
    (
        PARIS,
        "{expr: a, as: datetime}",
        pl.Series(["2026-10-25 02:30:00"]),
        [
            (
                "time_repeated",
                "2026-10-25 02:30:00",
                (
                    "properties.x (a): the clocks of Europe/Paris show '2026-10-25 02:30:00' twice; "
                    "only an offset tells which"
                ),
            )
        ],
    ),
    (
        "",
        "a",
        pl.Series([float("nan"), float("-inf")]),
        [
            ("not_finite", "NaN", "properties.x (a) is NaN; expected a finite number"),
            ("not_finite", "-inf", "properties.x (a) is -inf; expected a finite number"),
        ],
    ),
    ("", "a", pl.Series([[1.0, float("nan")]]), [("not_finite", None, "properties.x (a) holds NaN or infinity")]),
    (
        "",
        "CAST(a AS INT)",
        pl.Series(["abc"]),
        [
            (
                "not_computable",
                "a='abc'",
                "properties.x: CAST(a AS INT) cannot be computed for a='abc': conversion from `str` to `i32` failed",
            )
        ],
    ),
]


@pytest.mark.parametrize(("top", "value", "column", "expected"), BAD)
def test_bad_values_reject_their_row(
    tmp_path: Path, top: str, value: str, column: pl.Series, expected: list[tuple[str, str | None, str]]
) -> None:
    nulls = pl.Series([None], dtype=column.dtype)
    result = one_value(tmp_path, value, pl.concat([nulls, column, nulls]), top=top)
    rejected = result.rejected
    assert list(zip(rejected["reason"], rejected["value"], rejected["message"], strict=True)) == expected
    assert rejected["row"].to_list() == list(range(2, 2 + len(column)))
    assert set(rejected["field"]) == {"properties.x"}
    assert result.events[ROW].to_list() == [1, 2 + len(column)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=12)), max_size=20))
def test_any_text_arrives_as_it_was(tmp_path: Path, texts: list[str | None]) -> None:
    result = one_value(tmp_path, "a", pl.Series(texts, dtype=pl.String))
    assert result.events["properties.x"].to_list() == texts


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=None), max_size=20))
def test_decimals_keep_their_digits(tmp_path: Path, numbers: list[Decimal]) -> None:
    texts = [f"{number:f}" for number in numbers]
    result = one_value(tmp_path, "{expr: a, as: decimal}", pl.Series(texts, dtype=pl.String))
    assert shown(result.events) == texts
