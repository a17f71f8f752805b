"""What frames of rows become: values, their options, and the rows that are rejected."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from loader import jsontext
from loader.errors import MappingError
from loader.rejection import REASONS, ROW, SCHEMA
from tests.mapping.support import BATCH, bound, event, frame, mapped, one_value

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


def test_times(tmp_path: Path) -> None:
    texts = [
        "2026-03-01",
        "2026-07-01T12:00:00.123456",
        "2026-07-01 12:00:00Z",
        "2026-02-30",
        "2026-03-29 02:30",
        "",
        None,
    ]
    result = one_value(tmp_path, "a", texts, top=PARIS, name="time")
    assert result.events.schema["time"] == UTC_TIME
    assert result.events["time"].to_list() == [
        at(2026, 2, 28, 23),
        at(2026, 7, 1, 10, 0, 0, 123456),
        at(2026, 7, 1, 12),
    ]
    assert reasons(result.rejected) == [
        (4, "bad_time", "time", "2026-02-30"),
        (5, "time_skipped", "time", "2026-03-29 02:30"),
        (6, "bad_time", "time", ""),
        (7, "missing_time", "time", None),
    ]
    assert result.rejected["message"][-1] == "time (a) is null"


@pytest.mark.parametrize(
    ("value", "column", "moment"),
    [
        ("{expr: a, unit: s}", pl.Series([1_700_000_000]), at(2023, 11, 14, 22, 13, 20)),
        ("{expr: a, unit: ms}", pl.Series([1_700_000_000_123]), at(2023, 11, 14, 22, 13, 20, 123000)),
        ("{expr: a, unit: s}", pl.Series(["1700000000.5"]), at(2023, 11, 14, 22, 13, 20, 500000)),
        ("{expr: a, timezone: Europe/Paris}", pl.Series([datetime(2026, 7, 1, 12)]), at(2026, 7, 1, 10)),
        ("{expr: a, as: date, timezone: Europe/Paris}", pl.Series(["2026-07-01"]), at(2026, 6, 30, 22)),
        ("{expr: a, format: '%d/%m/%Y %H:%M %z'}", pl.Series(["01/07/2026 12:00 +0200"]), at(2026, 7, 1, 10)),
        ("a", pl.Series([datetime(2026, 7, 1, 12)], dtype=pl.Datetime("ns", "America/New_York")), at(2026, 7, 1, 12)),
        ("{const: 2026-07-01T12:00:00+02:00}", pl.Series([1]), at(2026, 7, 1, 10)),
        ("{expr: a, default: 2026-07-01T12:00:00Z}", pl.Series([None], dtype=pl.String), at(2026, 7, 1, 12)),
        ("{expr: \"STRPTIME(a, '%Y%m%d')\", timezone: UTC}", pl.Series(["20260701"]), at(2026, 7, 1)),
    ],
)
def test_forms_of_time(tmp_path: Path, value: str, column: pl.Series, moment: datetime) -> None:
    assert one_value(tmp_path, value, column, name="time").events["time"].to_list() == [moment]


def test_a_time_without_zone_stops_everything(tmp_path: Path) -> None:
    rows = frame({"t": ["2026-07-01T12:00:00Z", None, "2026-07-01 12:00:00"]}, first=801)
    path = event(tmp_path, "user: {const: u}\nname: {const: n}\ntime: t")
    destination = bound(path, rows).destinations[0]
    with pytest.raises(MappingError) as caught:
        destination.events(rows)
    assert str(caught.value) == (
        f"{path}:5:9: row 803: the time '2026-07-01 12:00:00' has no zone; "
        "name its zone with `timezone:`, such as Europe/Paris or UTC"
    )


def test_users_and_names(tmp_path: Path) -> None:
    rows = frame({"CustomerID": ["00123", " x", None, "", " \t", "ok", "ok"], "kind": ["a"] * 5 + ["", None]})
    result = mapped(event(tmp_path, "user: CustomerID\nname: kind"), rows)
    assert result.events.select("user", "name").rows() == [("00123", "a"), (" x", "a")]
    assert list(zip(result.rejected["row"], result.rejected["reason"], result.rejected["message"], strict=True)) == [
        (3, "missing_user", "user (CustomerID) is null"),
        (4, "missing_user", "user (CustomerID) is blank"),
        (5, "missing_user", "user (CustomerID) is blank"),
        (6, "missing_name", "name (kind) is blank"),
        (7, "missing_name", "name (kind) is null"),
    ]


@pytest.mark.parametrize(
    "blank", ["", " ", "\t\n", "\x0b\x0c\r", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u3000"]
)
@pytest.mark.parametrize("other", ["!", "a", "~", "é", "\U0010ffff"])
def test_a_user_of_blanks_is_none_whatever_stands_beside_it(tmp_path: Path, blank: str, other: str) -> None:
    result = mapped(event(tmp_path, "user: u\nname: {const: n}"), frame({"u": [other, blank]}))
    assert result.events["user"].to_list() == [other]
    assert result.rejected["message"].to_list() == ["user (u) is blank"]


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        ("a", pl.Series([9007199254740993]), "9007199254740993"),
        ("a", pl.Series([Decimal("12.10")]), "12.10"),
        ("a", pl.Series([True]), "true"),
        ("a", pl.Series([date(2026, 3, 1)]), "2026-03-01"),
        ("{expr: a, as: text}", pl.Series([17850.0]), "17850.0"),
        ("CAST(a AS BIGINT)", pl.Series([17850.0]), "17850"),
        ("{expr: a, as: decimal}", pl.Series(["007.50"]), "7.50"),
        ("{expr: a, as: integer}", pl.Series(["007"]), "7"),
        ("5", pl.Series(["x"]), "5"),
        ("{expr: a, hash: sha256}", pl.Series([7]), hashlib.sha256(b"7").hexdigest()),
    ],
)
@pytest.mark.parametrize("field", ["user", "id", "ids.cookie", "name"])
def test_texts_of_other_types(tmp_path: Path, field: str, value: str, column: pl.Series, text: str) -> None:
    fields = {"user": "{const: u}", "name": "{const: n}"} | (
        {"ids": f"{{cookie: {value}}}"} if field == "ids.cookie" else {field: value}
    )
    result = mapped(event(tmp_path, "".join(f"{k}: {v}\n" for k, v in fields.items())), frame({"a": column}))
    assert result.events.schema[field] == pl.String
    assert result.events[field].to_list() == [text]


def test_ids_without_a_user(tmp_path: Path) -> None:
    rows = frame({"r": ["x", None, None], "c": [None, 5, None]})
    result = mapped(event(tmp_path, "ids: {registered: r, cookie: c}\nname: {const: n}"), rows)
    assert result.events.rows() == [(1, "x", None, "n"), (2, None, "5", "n")]
    assert result.rejected["message"].to_list() == [
        "the event has no user: ids.registered (r) and ids.cookie (c) are null"
    ]
    assert reasons(result.rejected) == [(3, "missing_user", "ids.registered", None)]


def test_an_id_is_there_or_its_row_is_rejected(tmp_path: Path) -> None:
    result = mapped(
        event(tmp_path, "id: a\nuser: {const: u}\nname: {const: n}"), frame({"a": ["1", None, " ", "x\0y", "2"]})
    )
    assert result.events["id"].to_list() == ["1", "2"]
    assert [(row, reason) for row, reason, *_ in reasons(result.rejected)] == [(n, "missing_id") for n in (2, 3, 4)]


@pytest.mark.parametrize(
    ("value", "column", "tags"),
    [
        ("a", pl.Series([["x", None, "y"], [], None]), [["x", "y"], [], None]),
        ("a", pl.Series([[1, 2]]), [["1", "2"]]),
        ("{const: [x, y]}", pl.Series([1, 2]), [["x", "y"], ["x", "y"]]),
        ("[a, {const: z}]", pl.Series(["x", None]), [["x", "z"], ["z"]]),
        ("[a, a]", pl.Series(["x", None]), [["x", "x"], None]),
        ("[a]", pl.Series([5, None]), [["5"], None]),
        ("string_to_array(a, ',')", pl.Series(["x,y", None]), [["x", "y"], None]),
    ],
)
def test_lists_of_texts(tmp_path: Path, value: str, column: pl.Series, tags: list[Any]) -> None:
    path = event(tmp_path, f"user: {{const: u}}\nname: {{const: n}}\ntags: {value}", destinations=BATCH)
    result = mapped(path, frame({"a": column}))
    assert result.events.schema["tags"] == pl.List(pl.String)
    assert result.events["tags"].to_list() == tags


def test_a_row_is_rejected_once_for_its_first_field_in_the_file(tmp_path: Path) -> None:
    rows = frame({"u": [None, "x", "x"], "n": ["abc", "abc", "1"], "f": [float("nan")] * 3})
    path = event(tmp_path, "name: {const: n}\nproperties: {a: CAST(n AS INT), f: f}\nuser: u")
    assert reasons(mapped(path, rows).rejected) == [
        (1, "not_computable", "properties.a", "n='abc'"),
        (2, "not_computable", "properties.a", "n='abc'"),
        (3, "not_finite", "properties.f", "NaN"),
    ]


def test_where(tmp_path: Path) -> None:
    rows = frame({"s": ["paid", "open", None, "paid"], "n": ["1", "2", "3", "x"]})
    path = event(tmp_path, "user: {const: u}\nname: s", top="where: s = 'paid' AND CAST(n AS INT) > 0\n")
    kept = bound(path, rows).keep(rows)
    assert_frame_equal(kept.rows, rows.head(1))
    assert kept.filtered == 2
    assert reasons(kept.rejected) == [(4, "not_computable", "where", "s='paid', n='x'")]
    everything = bound(event(tmp_path, "user: s\nname: s"), rows).keep(rows)
    assert_frame_equal(everything.rows, rows)
    assert (everything.filtered, everything.rejected.height) == (0, 0)


def test_all_columns_that_are_left(tmp_path: Path) -> None:
    rows = frame({"customer": ["u"], "kind": ["k"], "Total €": [1], "row": ["r"], "day": [date(2026, 3, 1)]})
    result = mapped(event(tmp_path, "user: upper(customer)\nname: kind\nproperties: '*'"), rows)
    assert result.events.columns == [ROW, "user", "name", "properties.Total €", "properties.row", "properties.day"]
    listed = mapped(event(tmp_path, "user: customer\nname: kind\nproperties: [Total €, kind]"), rows)
    assert listed.events.rows() == [(1, "u", "k", 1, "k")]


def test_names_that_sql_reads_otherwise(tmp_path: Path) -> None:
    rows = frame({"user": ["u"], "order": ["o"], "end": ["e"], "Größe": [1], "a b": [2], 'x"y': [3]})
    path = event(tmp_path, 'user: user\nname: order\nproperties: {e: end, g: Größe, a: \'"a b"\', x: \'"x""y"\'}')
    assert mapped(path, rows).events.rows() == [(1, "u", "o", "e", 1, 2, 3)]


def test_no_rows(tmp_path: Path) -> None:
    rows = frame({"a": pl.Series([], dtype=pl.String)})
    path = event(
        tmp_path,
        "user: a\nname: {const: n}\ntime: {expr: a, timezone: UTC}\nproperties: {x: CAST(a AS INT)}",
        top="where: a = 'x'\n",
    )
    assert bound(path, rows).keep(rows).rows.height == 0
    assert mapped(path, rows).events.height == 0


def test_the_frame_does_not_matter(tmp_path: Path) -> None:
    """The same rows give the same events in frames of any size (design, "Promises", 10)."""
    count = 1_000
    rows = frame(
        {
            "u": [None if n % 97 == 0 else f"u{n}" for n in range(count)],
            "d": [f"{n}.{'0' * (n % 5)}1" for n in range(count)],
            "t": [f"2026-0{n % 9 + 1}-{n % 31 + 1:02d}" + ("T10:00:00Z" if n % 2 else " 11:00") for n in range(count)],
            "n": [str(n) if n % 7 else "x" for n in range(count)],
        }
    )
    path = event(
        tmp_path,
        "user: u\nname: {const: n}\ntime: t\nproperties: {d: {expr: d, as: decimal}, n: CAST(n AS INT), m: n}",
        top=PARIS,
    )
    destination = bound(path, rows).destinations[0]
    whole = destination.events(rows)
    assert 0 < whole.rejected.height < count
    for size in (1, 7, 333):
        parts = [destination.events(rows.slice(start, size)) for start in range(0, count, size)]
        assert_frame_equal(pl.concat([part.events for part in parts]), whole.events)
        assert_frame_equal(pl.concat([part.rejected for part in parts]), whole.rejected)


@pytest.mark.parametrize(
    ("sql", "sent"),
    [
        ("a / 100.0", ["10.5", "100", "0", "-0.05"]),
        ("CAST(a / 1.0 AS DECIMAL(20, 0))", ["1050", "10000", "0", "-5"]),
        ("CAST(a * 0.01 AS DECIMAL(20, 2))", ["10.50", "100.00", "0.00", "-0.05"]),
    ],
)
def test_a_quotient_has_no_idle_zeros_and_an_exact_amount_keeps_its_own(
    tmp_path: Path, sql: str, sent: list[str]
) -> None:
    result = one_value(tmp_path, f'"{sql}"', [1050, 10_000, 0, -5])
    assert shown(result.events) == sent
