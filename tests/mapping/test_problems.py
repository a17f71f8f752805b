"""Every rule of the mapping file has its message, at its place."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from loader.errors import MappingError, UsageError
from loader.mapping import read
from tests.mapping.support import BATCH, BLOOMREACH, SOURCE, event, problems, write

EVENT = "event: {user: u, name: n}\n"

# (what is wrong, the file's text, its problems)
FILES: list[tuple[str, str, list[str]]] = [
    ("empty", "", ["1:1: the file is empty; a mapping needs at least source, event and destinations"]),
    ("only comments", "# nothing\n", ["1:1: the file is empty; a mapping needs at least source, event and destinations"]),
    ("a list", "- a\n", ["1:1: expected keys such as 'source:' and 'event:', found a list"]),
    ("a text", "hello\n", ["1:1: expected keys such as 'source:' and 'event:', found text"]),
    ("a tab", "source:\n\ttype: csv\n", ["2:1: a tab stands here; YAML is indented with blanks"]),
    ("two documents", "a: 1\n---\nb: 2\n", ["2:1: a second document starts here; a mapping file holds one"]),
    ("an open quote", "source: 'x\n", ["2:1: a quote is opened and never closed"]),
    (
        "a colon too many",
        "where: a: b\n",
        ["1:9: a ':' that starts a value is not expected here; quote the text, or check the indentation"],
    ),
    ("a sign first", "where: @x\n", ["1:8: a value cannot start with '@'; put it in quotes"]),
    ("an unknown anchor", "where: *x\n", ["1:8: no anchor &x stands complete above this *x"]),
    ("an anchor in itself", "where: &x [*x]\n", ["1:12: no anchor &x stands complete above this *x"]),
    ("a control character", "where: a\x07b\n", ["1:9: a control character stands here; take it out"]),
    (
        "a variable in braces",
        SOURCE + EVENT + "destinations: [{provider: batch, api_key: ${KEY}, rest_api_key: r}]\n",
        ["3:44: expected ',' or '}', but got '{'; inside {…} a ${NAME} needs quotes"],
    ),
    (
        "a duplicate key",
        SOURCE + EVENT + BLOOMREACH + "where: a\nsource: {type: parquet, path: x}\nwhere: b\n",
        ["6:1: duplicate key 'source'; it stands on line 1 already", "7:1: duplicate key 'where'; it stands on line 5 already"],
    ),
    ("an unknown tag", "where: !sql a = 1\n" + SOURCE + EVENT + BLOOMREACH, ["1:8: unknown tag '!sql'; take it out"]),
    ("a list as a key", "? [a]\n: b\n" + SOURCE + EVENT + BLOOMREACH, ["1:3: a key is text, not a list or a map"]),
    (
        "a misspelt key",
        SOURCE + "tiemzone: UTC\n" + EVENT + BLOOMREACH,
        ["2:1: unknown key 'tiemzone'; did you mean 'timezone'?"],
    ),
    (
        "a key from elsewhere",
        SOURCE + "customer: {user: u}\n" + EVENT + BLOOMREACH,
        ["2:1: unknown key 'customer'; the keys are source, timezone, where, event, destinations"],
    ),
    ("no source", EVENT + BLOOMREACH, ["1:1: 'source' is missing"]),
    ("no event", SOURCE + BLOOMREACH, ["1:1: 'event' is missing"]),
    ("no destinations", SOURCE + EVENT, ["1:1: 'destinations' is missing"]),
    ("destinations empty", SOURCE + EVENT + "destinations: []\n", ["3:15: expected at least one"]),
    ("destinations no list", SOURCE + EVENT + "destinations: {a: b}\n", ["3:15: expected a list, found keys with values"]),
    ("a destination of text", SOURCE + EVENT + "destinations: [batch]\n", ["3:16: expected names with values, found text"]),
    ("nothing after a key", SOURCE + "where:\n" + EVENT + BLOOMREACH, ["2:1: nothing stands here; fill it in or take the key out"]),
    ("a number for text", SOURCE + "where: 1\n" + EVENT + BLOOMREACH, ["2:8: expected text, found the number 1"]),
    (
        "an unknown time zone",
        SOURCE + "timezone: Europe/Pari\n" + EVENT + BLOOMREACH,
        ["2:11: no time zone 'Europe/Pari'; did you mean 'Europe/Paris'?"],
    ),
    (
        "an offset as a time zone",
        SOURCE + "timezone: '+02:00'\n" + EVENT + BLOOMREACH,
        ["2:11: no time zone '+02:00'; expected a name such as Europe/Paris or UTC"],
    ),
    (
        "an unknown source",
        "source: {type: xls, path: x}\n" + EVENT + BLOOMREACH,
        ["1:16: no source of type 'xls'; the types are csv, parquet, jsonl, sql"],
    ),
    ("a source without a type", "source: {path: x}\n" + EVENT + BLOOMREACH, ["1:9: 'type' is missing; one of csv, parquet, jsonl, sql"]),
    (
        "keys of a source",
        "source:\n  type: csv\n  pth: x\n  separator: ';;'\n  has_header: maybe\n  types: {a: int}\n" + EVENT + BLOOMREACH,
        [
            "2:3: 'path' is missing",
            "3:3: unknown key 'pth'; did you mean 'path'?",
            "4:14: expected at most 1 character",
            "5:15: expected true or false, found text",
            "6:14: expected text, integer, number, decimal, boolean, datetime or date",
        ],
    ),
    (
        "a key of a cursor",
        "source: {type: parquet, path: x, cursor: {colum: a}}\n" + EVENT + BLOOMREACH,
        ["1:42: 'column' is missing", "1:43: unknown key 'colum'; did you mean 'column'?"],
    ),
    (
        "a query without its cursor",
        "source:\n  type: sql\n  url: sqlite://\n  query: SELECT 1\n  cursor: {column: a}\n" + EVENT + BLOOMREACH,
        [
            "4:10: the source has a cursor, but the query does not use it; such as WHERE a > :cursor",
            "5:11: 'initial' is missing; the first run needs a value for :cursor",
        ],
    ),
    (
        "a cursor without its source's",
        "source: {type: sql, url: 'sqlite://', query: 'SELECT 1 WHERE a > :cursor'}\n" + EVENT + BLOOMREACH,
        ["1:46: the query uses :cursor, but the source has no `cursor`"],
    ),
    (
        "a lag without an id",
        "source: {type: csv, path: x, cursor: {column: a, lag: 1h}}\n" + EVENT + BLOOMREACH,
        ["1:55: `lag` reads rows again; without `event.id` they would be sent twice"],
    ),
    (
        "a lag that is none",
        "source: {type: csv, path: x, cursor: {column: a, lag: soon}}\n" + EVENT + BLOOMREACH,
        ["1:55: 'soon' is not a duration; expected seconds, or a text such as 500ms, 30s, 5m, 24h"],
    ),
    (
        "an unknown provider",
        SOURCE + EVENT + "destinations: [{provider: blomreach}]\n",
        ["3:27: no provider 'blomreach'; did you mean 'bloomreach'?"],
    ),
    ("no provider", SOURCE + EVENT + "destinations: [{name: x}]\n", ["3:16: 'provider' is missing; one of batch, bloomreach"]),
    (
        "keys of a destination",
        SOURCE + EVENT + "destinations:\n  - provider: batch\n    api_key: k\n    chnk: 5\n    rate: fast\n    late_events: no\n    concurrency: 99\n",
        [
            "4:5: 'rest_api_key' is missing",
            "6:5: unknown key 'chnk'; did you mean 'chunk'?",
            "7:11: 'fast' is not a rate; expected requests and a unit such as 10/s, 100/min, 5000/h",
            "8:18: expected stop, reject, omit_time or send",
            "9:18: expected at most 32",
        ],
    ),
    (
        "an unknown route",
        SOURCE + EVENT + "destinations: [{provider: batch, route: fast, api_key: k, rest_api_key: r}]\n",
        ["3:41: batch has no route 'fast'; it has bulk"],
    ),
    (
        "a chunk over the limit",
        SOURCE + EVENT + "destinations: [{provider: batch, chunk: 1001, api_key: k, rest_api_key: r}]\n",
        [
            "3:41: batch takes at most 1000 events per call "
            "(https://doc.batch.com/developer/api/mep/trigger-events-api/track-events)"
        ],
    ),
    (
        "two destinations of one name",
        SOURCE + EVENT + BATCH + "  - {provider: batch, api_key: k, rest_api_key: r}\n",
        ["5:5: the destination on line 4 has the name 'batch' already; give this one another `name`"],
    ),
    (
        "a credential with a line break",
        SOURCE + EVENT + 'destinations: [{provider: batch, api_key: "s3\\ncret", rest_api_key: r}]\n',
        ["3:43: expected printable ASCII without blanks or line breaks"],
    ),
    (
        "a credential that is a number",
        SOURCE + EVENT + "destinations: [{provider: batch, api_key: true, rest_api_key: r}]\n",
        ["3:43: expected text, found the boolean true"],
    ),
    (
        "problems everywhere",
        "source: {type: csv}\nevent: {user: NOW(), nam: x}\ndestinations: [{provider: batch, api_key: k}, {provider: x}]\n",
        [
            "1:9: 'path' is missing",
            "2:8: 'name' is missing; a fixed name is written name: {const: purchase}",
            "2:15: NOW takes the time of the run, so that a resend would differ; "
            "a column of this name stands in double quotes",
            "2:22: batch has no field 'nam'; did you mean 'name'? "
            "its fields are id, user, ids, name, time, properties, label, tags",
            "3:16: 'rest_api_key' is missing",
            "3:58: no provider 'x'; the providers are batch, bloomreach",
        ],
    ),
]


@pytest.mark.parametrize(("text", "expected"), [f[1:] for f in FILES], ids=[f[0] for f in FILES])
def test_problems_of_a_file(tmp_path: Path, text: str, expected: list[str]) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text, encoding="utf-8")
    assert problems(path) == expected


# (what is wrong, the fields of an event, its problems)
EVENTS: list[tuple[str, str, list[str]]] = [
    ("no user", "name: n", ["3:3: 'user' is missing; it says to whom the event happened"]),
    ("no name", "user: u", ["3:3: 'name' is missing; a fixed name is written name: {const: purchase}"]),
    (
        "nothing after a key",
        "user:\nname: n",
        ["3:3: nothing stands here; fill it in or take the key out"],
    ),
    ("a list as a value", "user: [a]\nname: n", ["3:9: expected one value, found a list"]),
    ("an option that is none", "user: {expr: u, lokup: {a: b}}\nname: n", ["3:19: unknown key 'lokup'; did you mean 'lookup'?"]),
    ("both kinds of value", "user: {expr: u, const: 1}\nname: n", ["3:9: expected either 'const' or 'expr', found both"]),
    ("neither kind of value", "user: {as: text}\nname: n", ["3:9: expected 'const' or 'expr'"]),
    (
        "a constant with options",
        "user: {const: u, as: text}\nname: n",
        ["3:9: a constant takes no options (found as); write it as it shall be sent"],
    ),
    (
        "a constant null",
        "user: {const: null}\nname: n",
        ["3:9: a constant null is no value; leave the field out instead"],
    ),
    ("an infinite constant", "user: u\nname: n\nproperties: {x: .inf}", ["5:19: expected a finite number"]),
    ("an unknown type", "user: {expr: u, as: int}\nname: n", ["3:23: expected text, integer, number, decimal, boolean, datetime or date"]),
    (
        "an unknown hash",
        "user: {expr: u, hash: md5}\nname: n",
        ["3:25: expected sha256"],
    ),
    ("an empty lookup", "user: {expr: u, lookup: {}}\nname: n", ["3:27: expected at least one"]),
    (
        "a lookup of two kinds",
        "user: {expr: u, lookup: {a: x, b: 1}}\nname: n",
        ["3:27: the values of a lookup are of one kind, found numbers and text; put them in quotes"],
    ),
    ("a lookup of lists", "user: {expr: u, lookup: {a: [x]}}\nname: n", ["3:31: expected text, a number or a boolean, not a list or a map"]),
    ("a format without a time", "user: {expr: u, format: '%Y'}\nname: n", ["3:27: `format` is for times; add as: datetime or as: date"]),
    ("a unit without a time", "user: {expr: u, unit: s}\nname: n", ["3:25: `unit` is for times; add as: datetime"]),
    ("a zone without a time", "user: {expr: u, as: text, timezone: UTC}\nname: n", ["3:39: `timezone` is for times; add as: datetime"]),
    (
        "a unit and a format",
        "user: u\nname: n\ntime: {expr: t, unit: s, format: '%Y'}",
        ["5:25: expected either `unit` (of a number) or `format` (of a text), found both"],
    ),
    (
        "a time as text",
        "user: u\nname: n\ntime: {expr: t, as: text}",
        ["5:23: a time cannot be as: text; leave it out (numbers need their `unit`)"],
    ),
    ("a time as a hash", "user: u\nname: n\ntime: {expr: t, hash: sha256}", ["5:25: a time cannot be a hash"]),
    ("a constant time as a number", "user: u\nname: n\ntime: 5", ["5:9: a time is written as text, such as {const: 2026-03-01T12:30:00Z}"]),
    ("a fraction as an id", "user: 5.5\nname: n", ["3:9: expected text, found a number with a fraction; put it in quotes"]),
    (
        "a field that the provider lacks",
        "user: u\nname: n\nlabel: l",
        ["5:3: bloomreach has no field 'label'; its fields are id, user, ids, name, time, properties"],
    ),
    (
        "properties of text",
        "user: u\nname: n\nproperties: all",
        ['5:15: expected names with values, a list of columns, or "*" for all columns that are left'],
    ),
    ("a property that is none", "user: u\nname: n\nproperties: {x: null}", ["5:19: a value is missing; expected a SQL expression such as a column's name, or {const: …}"]),
    ("an aggregate", "user: u\nname: n\nproperties:\n  x: 1 + SUM(a)", ["6:12: SUM sums up many rows; an expression is computed row by row"]),
    (
        "a window",
        "user: u\nname: n\nproperties: {x: LAG(a) OVER (ORDER BY b)}",
        [
            "5:19: LAG looks at other rows; an expression is computed row by row",
            "5:26: OVER looks at other rows; an expression is computed row by row",
        ],
    ),
    (
        "a function that guesses",
        "user: u\nname: n\nproperties: {x: DATE(a)}",
        ["5:19: DATE without a format guesses it from other rows; give it one, or use the option as: datetime"],
    ),
    ("an unknown function", "user: uper(u)\nname: n", ["3:9: no SQL function uper; did you mean UPPER?"]),
    ("a function from elsewhere", "user: sha256(u)\nname: n", ["3:9: no SQL function sha256; use the option hash: sha256"]),
    ("two expressions", "user: u, v\nname: n", ["3:10: ',' is not expected here; write one expression"]),
    ("no expression", "user: ' '\nname: n", ["3:9: the expression is empty"]),
    ("a sub-select", "user: (SELECT 1)\nname: n", ["3:10: a SELECT inside an expression is refused; join in the source's query"]),
    ("a longer table", "user: UNNEST(a)\nname: n", ["3:9: UNNEST changes the number of rows; that is refused"]),
    ("all columns as one", "user: '*'\nname: n", ["3:9: '*' is no value; properties: \"*\" takes all columns"]),
    (
        "an alias",
        "user: a AS b\nname: n",
        [
            "3:14: 'b' follows an expression that is complete; a column name with blanks stands in double quotes, "
            "a text in single quotes, and {const: a AS b} sends it as it is"
        ],
    ),
    (
        "a text as it is",
        "user: u\nname: buyer was paid",
        ["4:19: 'paid' is not expected here; to send this text itself write {const: buyer was paid}"],
    ),
    ("half an expression", "user: a ||\nname: n", ["3:9: this is not a complete SQL expression: a ||"]),
    (
        "a word of SQL first",
        "user: u\nname: order paid",
        ["4:9: ORDER is a word of SQL; a column of this name stands in double quotes; "
         "to send this text itself write {const: order paid}"],
    ),
    ("a word of SQL", "user: upper(user)\nname: n", ["3:15: USER is a word of SQL; a column of this name stands in double quotes"]),
    (
        "a long expression",
        "user: " + " || ".join(["a"] * 402) + "\nname: n",
        ["3:9: the expression is too long; at most 20,000 characters and 400 operators (a long CASE is better written as a lookup)"],
    ),
    (
        "a block of SQL",
        "user: >\n  CASE WHEN a THEN b\n  ELSE now() END\nname: n",
        ["5:10: NOW takes the time of the run, so that a resend would differ; a column of this name stands in double quotes"],
    ),
]


@pytest.mark.parametrize(("fields", "expected"), [e[1:] for e in EVENTS], ids=[e[0] for e in EVENTS])
def test_problems_of_an_event(tmp_path: Path, fields: str, expected: list[str]) -> None:
    assert problems(event(tmp_path, fields)) == expected


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
    ("a constant as a column", "user: u\nname: purchase", ["4:9: no column 'purchase'; to send this text itself write {const: purchase}"]),
    ("a misspelt column", "user: upper(lst)\nname: n", ["3:15: no column 'lst'; did you mean list?"]),
    (
        "no column near",
        "user: upper(zzz)\nname: n",
        [
            "3:15: no column 'zzz'; the columns are u, n, i, f, b, span, at, day, clock, yes, list, inside, …",
        ],
    ),
    ("capitals", 'user: upper("customer id")\nname: n', ["3:15: no column 'customer id'; did you mean \"Customer ID\"?"]),
    ("a member that is none", "user: inside.x\nname: n", ["3:9: user: no member 'x' in the column"]),
    ("a column of a list", "user: u\nname: n\nproperties: [i, zzz]", ["5:19: no column 'zzz'; the columns are u, n, i, f, b, span, at, day, clock, yes, list, inside, …"]),
    ("text and number", "user: u\nname: n\nproperties: {x: upper(i)}", ["5:19: properties.x: this cannot be computed: invalid series dtype: expected `String`, got `i64` for series with name `i`"]),
    ("a fraction as a user", "user: f\nname: n", ["3:9: user: found a number, which would be sent as 17850.0; write CAST(… AS BIGINT), or add as: text"]),
    ("a list as a user", "user: list\nname: n", ["3:9: user: expected one value, found a list; take a part of it, such as x.name or x[1]"]),
    (
        "binary",
        "user: u\nname: n\nproperties: [b]",
        ["5:16: properties.b: the value is binary; send its text instead, such as CAST(x AS VARCHAR) where the bytes are text, or leave it out"],
    ),
    ("a span", "user: u\nname: n\nproperties: [span]", ["5:16: properties.span: the value is a span of time; compute a number from it in the source, or leave it out"]),
    (
        "binary inside",
        "user: u\nname: n\nproperties: [deep]",
        ["5:16: properties.deep: the value is binary; send its text instead, such as CAST(x AS VARCHAR) where the bytes are text, or leave it out"],
    ),
    ("a property without a zone", "user: u\nname: n\nproperties: {x: at}", [f"5:19: properties.x: {ZONE}"]),
    (
        "a time without a zone inside",
        "user: u\nname: n\nproperties: [inside]",
        ["5:16: properties.inside: times without a zone are inside the value; give them one in the source, or send them one by one"],
    ),
    ("a time without a zone", "user: u\nname: n\ntime: at", [f"5:9: time: {ZONE}"]),
    ("a date without a zone", "user: u\nname: n\ntime: day", [f"5:9: time: {ZONE}"]),
    ("a time of day", "user: u\nname: n\ntime: clock", ["5:9: time: a time of day is no moment in time"]),
    ("a number without a unit", "user: u\nname: n\ntime: i", ["5:9: time: a number is a time only with its unit; add unit: s, ms or us (since 1970)"]),
    ("a unit of a time", "user: u\nname: n\ntime: {expr: at, unit: s}", ["5:26: time: `unit` is for numbers; the value is a time already"]),
    ("a format of a number", "user: u\nname: n\ntime: {expr: day, format: '%Y'}", ["5:29: time: `format` is for text, found a date"]),
    ("a zone of text", "user: u\nname: n\nproperties: {x: {expr: i, timezone: UTC}}", ["5:39: properties.x: `timezone` is for times, found a whole number"]),
    ("a time as a number", "user: u\nname: n\nproperties: {x: {expr: day, as: integer}}", ["5:35: properties.x: a date cannot become integer"]),
    ("a number as a date", "user: u\nname: n\nproperties: {x: {expr: i, as: date}}", ["5:33: properties.x: a whole number cannot become a date"]),
    ("a list with options", "user: u\nname: n\nproperties: {x: {expr: list, hash: sha256}}", ["5:19: properties.x: expected one value, found a list; take a part of it, such as x.name or x[1]"]),
    (
        "a default of another kind",
        "user: u\nname: n\nproperties: {x: {expr: i, default: none}}",
        ["5:38: properties.x: the default is text, the other values are a whole number; make them alike, or add as: text"],
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


def test_no_file(tmp_path: Path) -> None:
    write(tmp_path, "", "orders.yaml")
    with pytest.raises(UsageError) as caught:
        read(tmp_path / "order.yaml")
    assert str(caught.value).endswith(f"No such file or directory; did you mean {tmp_path / 'orders.yaml'}?")
    with pytest.raises(UsageError):
        read(tmp_path)


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(b"where: a\nevent: caf\xe9\n")
    assert problems(path) == ["2:11: the file is not UTF-8; save it as UTF-8"]


def test_the_file_is_named_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "[]")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MappingError) as caught:
        read(Path("m.yaml"))
    assert str(caught.value) == "m.yaml:1:1: expected keys such as 'source:' and 'event:', found a list"


def test_no_message_is_pydantics(tmp_path: Path) -> None:
    """Every key with every kind of wrong value: the words are the loader's."""
    keys = {
        "source": ["type", "path", "separator", "quote", "encoding", "has_header", "columns", "null_values", "types", "cursor"],
        "event": ["id", "user", "ids", "name", "time", "properties", "label"],
        "destinations": ["provider", "name", "base_url", "route", "rate", "concurrency", "timeout", "chunk", "late_events",
                         "in_doubt", "give_up_after", "event", "project_token"],
    }
    wrong = ["", "null", "-1", "0.5", "true", "[]", "{}", "[[1]]", "{a: {b: c}}", "'  '", "!!str 1", "[null]", "''"]
    for block, names in keys.items():
        for name in names:
            for value in wrong:
                parts = {
                    "source": {"type": "csv", "path": "x"},
                    "event": {"user": "u", "name": "n"},
                    "destinations": {"provider": "bloomreach", "project_token": "p", "api_token": "t"},
                }
                parts[block][name] = value
                text = "".join(
                    f"{key}: " + ("[{%s}]" if key == "destinations" else "{%s}") % ", ".join(f"{k}: {v}" for k, v in part.items()) + "\n"
                    for key, part in parts.items()
                )
                try:
                    read(write(tmp_path, text), env={})
                except MappingError as error:
                    said = str(error)
                    said = said.replace(str(tmp_path), "")
                    for jargon in ("Input should", "input should", "Value error", "pydantic", "dictionary", "valid ", "None", "NoneType"):
                        assert jargon not in said, (text, said)
