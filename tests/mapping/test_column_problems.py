"""What does not fit the columns of the source has its message, at its place."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.mapping.support import BATCH, BLOOMREACH, event, problems, write

COLUMNS: dict[str, pl.DataType] = {
    "u": pl.String(),
    "n": pl.String(),
    "i": pl.Int64(),
    "f": pl.Float64(),
    "b": pl.Binary(),
    "span": pl.Duration("us"),
    "at": pl.Datetime("us"),
    "day": pl.Date(),
    "clock": pl.Time(),
    "yes": pl.Boolean(),
    "list": pl.List(pl.String()),
    "inside": pl.Struct({"at": pl.Datetime("us")}),
    "deep": pl.List(pl.Struct({"raw": pl.Binary()})),
    "Customer ID": pl.String(),
}
ZONE = "the time has no zone; name it with `timezone:`, such as Europe/Paris or UTC"

# (what does not fit, the fields of an event, the problems with COLUMNS)
MISFITS: list[tuple[str, str, list[str]]] = [
    (
        "a constant as a column",
        "user: u\nname: purchase",
        ["4:9: no column 'purchase'; to send this text itself write {const: purchase}"],
    ),
    ("a misspelt column", "user: upper(lst)\nname: n", ["3:15: no column 'lst'; did you mean list?"]),
    (
        "no column near",
        "user: upper(zzz)\nname: n",
        [
            "3:15: no column 'zzz'; the columns are u, n, i, f, b, span, at, day, clock, yes, list, inside, …",
        ],
    ),
    (
        "capitals",
        'user: upper("customer id")\nname: n',
        ["3:15: no column 'customer id'; did you mean \"Customer ID\"?"],
    ),
    ("a member that is none", "user: inside.x\nname: n", ["3:9: user: no member 'x' in the column"]),
    (
        "a column of a list",
        "user: u\nname: n\nproperties: [i, zzz]",
        ["5:19: no column 'zzz'; the columns are u, n, i, f, b, span, at, day, clock, yes, list, inside, …"],
    ),
    (
        "text and number",
        "user: u\nname: n\nproperties: {x: upper(i)}",
        [
            (
                "5:19: properties.x: this cannot be computed: invalid series dtype: expected `String`, got "
                "`i64` for series with name `i`"
            )
        ],
    ),
    (
        "a fraction as a user",
        "user: f\nname: n",
        ["3:9: user: found a number, which would be sent as 17850.0; write CAST(… AS BIGINT), or add as: text"],
    ),
    (
        "a list as a user",
        "user: list\nname: n",
        ["3:9: user: expected one value, found a list; take a part of it, such as x.name or x[1]"],
    ),
    (
        "binary",
        "user: u\nname: n\nproperties: [b]",
        [
            (
                "5:16: properties.b: the value is binary; send its text instead, such as CAST(x AS VARCHAR) "
                "where the bytes are text, or leave it out"
            )
        ],
    ),
    (
        "a span",
        "user: u\nname: n\nproperties: [span]",
        ["5:16: properties.span: the value is a span of time; compute a number from it in the source, or leave it out"],
    ),
    (
        "binary inside",
        "user: u\nname: n\nproperties: [deep]",
        [
            (
                "5:16: properties.deep: the value is binary; send its text instead, such as CAST(x AS VARCHAR) "
                "where the bytes are text, or leave it out"
            )
        ],
    ),
    ("a property without a zone", "user: u\nname: n\nproperties: {x: at}", [f"5:19: properties.x: {ZONE}"]),
    (
        "a time without a zone inside",
        "user: u\nname: n\nproperties: [inside]",
        [
            (
                "5:16: properties.inside: times without a zone are inside the value; give them one in the "
                "source, or send them one by one"
            )
        ],
    ),
    ("a time without a zone", "user: u\nname: n\ntime: at", [f"5:9: time: {ZONE}"]),
    ("a date without a zone", "user: u\nname: n\ntime: day", [f"5:9: time: {ZONE}"]),
    ("a time of day", "user: u\nname: n\ntime: clock", ["5:9: time: a time of day is no moment in time"]),
    (
        "a number without a unit",
        "user: u\nname: n\ntime: i",
        ["5:9: time: a number is a time only with its unit; add unit: s, ms or us (since 1970)"],
    ),
    (
        "a unit of a time",
        "user: u\nname: n\ntime: {expr: at, unit: s}",
        ["5:26: time: `unit` is for numbers; the value is a time already"],
    ),
    (
        "a format of a number",
        "user: u\nname: n\ntime: {expr: day, format: '%Y'}",
        ["5:29: time: `format` is for text, found a date"],
    ),
    (
        "a zone of text",
        "user: u\nname: n\nproperties: {x: {expr: i, timezone: UTC}}",
        ["5:39: properties.x: `timezone` is for times, found a whole number"],
    ),
    (
        "a time as a number",
        "user: u\nname: n\nproperties: {x: {expr: day, as: integer}}",
        ["5:35: properties.x: a date cannot become integer"],
    ),
    (
        "a number as a date",
        "user: u\nname: n\nproperties: {x: {expr: i, as: date}}",
        ["5:33: properties.x: a whole number cannot become a date"],
    ),
    (
        "a list with options",
        "user: u\nname: n\nproperties: {x: {expr: list, hash: sha256}}",
        ["5:19: properties.x: expected one value, found a list; take a part of it, such as x.name or x[1]"],
    ),
    (
        "a default of another kind",
        "user: u\nname: n\nproperties: {x: {expr: i, default: none}}",
        [
            (
                "5:38: properties.x: the default is text, the other values are a whole number; make them alike, "
                "or add as: text"
            )
        ],
    ),
    (
        "a number beside text",
        "user: u\nname: n\nproperties: {x: {expr: u, default: 0}}",
        ["5:38: properties.x: the other values are text; write default: '0', or add as: integer"],
    ),
]


@pytest.mark.parametrize(("fields", "expected"), [m[1:] for m in MISFITS], ids=[m[0] for m in MISFITS])
def test_problems_with_the_columns(tmp_path: Path, fields: str, expected: list[str]) -> None:
    assert problems(event(tmp_path, fields), COLUMNS) == expected


def test_where_must_be_a_condition(tmp_path: Path) -> None:
    path = event(tmp_path, "user: u\nname: n", top="where: i + 1\n")
    assert problems(path, COLUMNS) == ["2:8: `where` is a condition, found a whole number; such as status = 'paid'"]


def test_where_is_an_expression(tmp_path: Path) -> None:
    path = event(tmp_path, "user: u\nname: n", top="where: MAX(i) = 1 AND NOW() > at\n")
    assert problems(path)[0].startswith("2:8: MAX sums up many rows")
    assert problems(path)[1].startswith("2:23: NOW takes the time of the run")


def test_cursor_names_a_column(tmp_path: Path) -> None:
    text = "source: {type: csv, path: x, cursor: {column: days}}\nevent: {user: u, name: n}\n" + BLOOMREACH
    assert problems(write(tmp_path, text), COLUMNS) == ["1:47: no column 'days'; did you mean 'day'?"]


def test_all_problems_of_the_columns_come_at_once(tmp_path: Path) -> None:
    path = event(tmp_path, "user: f\nname: zz\ntime: at\nproperties: {x: b, y: upper(i)}", top="where: i\n")
    assert [p.split(": ")[0] for p in problems(path, COLUMNS)] == ["2:8", "4:9", "5:9", "6:9", "7:19", "7:25"]


def test_a_list_field_takes_lists(tmp_path: Path) -> None:
    def batch(tags: str) -> list[str]:
        return problems(event(tmp_path, f"user: u\nname: n\ntags: {tags}", destinations=BATCH), COLUMNS)

    assert batch("u") == ["5:9: tags: expected a list of texts, found text; a list of one is written [x]"]
    assert batch("{const: x}") == ["5:17: expected a list of texts"]
    assert batch("[]") == ["5:9: 'tags' needs at least one value"]
    assert batch("{expr: list, default: x}") == ["5:31: a list takes no options; write the list's members one by one"]
    assert batch("[u, f]")[0].startswith("5:13: tags: found a number, which")
    assert batch("[u, [n]]") == ["5:13: expected one value, found a list"]
    label = event(tmp_path, "user: u\nname: n\nlabel: [u]", destinations=BATCH)
    assert problems(label) == ["5:10: 'label' takes one text, found a list"]


def test_what_a_provider_never_takes_is_told_at_its_place(tmp_path: Path) -> None:
    path = event(tmp_path, "user: u\nname: n\nproperties:\n  Total: i\n  x: list", destinations=BATCH)
    found = problems(path, COLUMNS)
    assert [p.split(": ")[:2] for p in found] == [["6:12", "properties.Total"], ["7:8", "properties.x"]]


def test_ids_of_a_provider_without_ids(tmp_path: Path) -> None:
    path = event(tmp_path, "user: u\nname: n\nids: {cookie: c}", destinations=BATCH)
    assert problems(path) == ["5:9: batch has no id type 'cookie'; it knows users by `user` alone"]
