"""A value that fails on one row rejects that row alone, and finding it does not take long."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.mapping.expressions import parse, type_of
from loader.mapping.isolate import evaluate
from tests.mapping.support import bound, event, frame, types

ROWS = pl.DataFrame(
    {
        "a": ["1", "x", None, "2", "y", " 3", "300"],
        "b": [1, 0, 2, None, 1000, -5, 3],
        "yes": [True, False, None, True, True, False, True],
        "day": ["2026-03-01", "2026-02-30", None, "2026-13-01", "2026-03-02", "x", ""],
        "list": [["1"], ["x", "2"], None, [], ["3", "y"], [None], ["4"]],
    }
)
EXPRESSIONS = [
    "CAST(a AS INT)",
    "a::DOUBLE",
    "CAST(CAST(a AS DOUBLE) AS TINYINT)",
    "CASE WHEN yes THEN CAST(a AS INT) ELSE b END",
    "CASE WHEN b > 1 THEN STRPTIME(day, '%Y-%m-%d') END",
    "COALESCE(CAST(a AS INT), b)",
    "CAST(a AS INT) > 1 AND yes",
    "DATE(day, '%Y-%m-%d')",
    "CAST(list[1] AS INT)",
    "CAST(b AS TINYINT) + CAST(a AS INT)",
    "REGEXP_LIKE('x', a || '(')",
    "CAST(b AS DECIMAL(38, 0)) * 99999999999999999999999999999999999999",
    "LPAD(a, b)",
    "TRY_CAST(a AS INT)",
    "a",
]


def alone(rows: pl.DataFrame, sql: str, at: int) -> tuple[bool, object]:
    """Whether the expression fails on one row alone, and its value there."""
    expression = parse(sql)[0]
    assert expression is not None
    try:
        return False, rows.slice(at, 1).select(expression.alias("v"), pl.lit(1)).to_series()[0]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return True, None


@pytest.mark.parametrize("sql", EXPRESSIONS)
def test_every_row_is_judged_as_if_it_stood_alone(sql: str) -> None:
    expression = parse(sql)[0]
    assert expression is not None
    dtype, why = type_of(expression, dict(ROWS.schema))
    assert dtype is not None, why
    found = evaluate(ROWS, sql, dtype)
    expected = [alone(ROWS, sql, at) for at in range(ROWS.height)]
    failed = [False] * ROWS.height if found.causes is None else found.causes.is_not_null().to_list()
    assert failed == [one[0] for one in expected]
    assert found.values.to_list() == [one[1] for one in expected]
    assert found.values.dtype == dtype


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["1", "x", None, "", "-7", "1.5"]), min_size=1, max_size=60))
def test_any_mixture(texts: list[str | None]) -> None:
    rows = pl.DataFrame({"a": pl.Series(texts, dtype=pl.String)})
    found = evaluate(rows, "CAST(a AS BIGINT) * 2", pl.Int64())
    good = {"1": 2, "-7": -14, None: None}
    assert found.values.to_list() == [good.get(text) for text in texts]
    bad = [text not in good for text in texts]
    assert ([False] * len(texts) if found.causes is None else found.causes.is_not_null().to_list()) == bad


@pytest.mark.parametrize("constant", [False, True], ids=["different values", "one value"])
@pytest.mark.parametrize(
    "sql",
    [
        "CAST(a AS INT)",
        "CASE WHEN f THEN CAST(a AS INT) ELSE 0 END",
        "STRPTIME(a, '%Y-%m-%d')",
        "CAST(CAST(a AS DOUBLE) AS INT) > 3",
    ],
)
def test_a_column_of_bad_values_does_not_take_long(tmp_path: Path, sql: str, constant: bool) -> None:
    count = 200_000
    rows = frame({"a": [f"x{n}" for n in range(count)], "f": [n % 3 == 0 for n in range(count)]})
    if constant:
        rows = rows.with_columns(a=pl.lit("x"))
    path = event(tmp_path, f"user: {{const: u}}\nname: {{const: n}}\nproperties:\n  x: {sql}", top="timezone: UTC\n")
    destination = bound(path, rows).destinations[0]
    began = time.monotonic()
    rejected = sum(destination.events(rows.slice(at, 20_000)).rejected.height for at in range(0, count, 20_000))
    assert time.monotonic() - began < 5
    assert rejected == (66_667 if "CASE" in sql else count)


def test_what_is_shown_of_the_row(tmp_path: Path) -> None:
    rows = frame({"a": ["x" * 500], "b": pl.Series([None], dtype=pl.String), "l": [[1]], "n": [5]})
    path = event(
        tmp_path, "user: {const: u}\nname: {const: n}\nproperties:\n  x: CAST(a AS INT) + n + LENGTH(b) + l[1]"
    )
    [row] = bound(path, rows).destinations[0].events(rows).rejected.iter_rows(named=True)
    assert row["value"] == ("a='" + "x" * 200 + "', n=5, b=null, l=…")[:200]
    assert row["message"].startswith(
        "properties.x: CAST(a AS INT) + n + LENGTH(b) + l[1] cannot be computed for a='xxx"
    )
    assert types(rows)["l"] == pl.List(pl.Int64)
