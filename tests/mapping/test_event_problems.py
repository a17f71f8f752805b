"""What is wrong with an event before the columns are known has its message, at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mapping.support import event, problems

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
    (
        "an option that is none",
        "user: {expr: u, lokup: {a: b}}\nname: n",
        ["3:19: unknown key 'lokup'; did you mean 'lookup'?"],
    ),
    (
        "both kinds of value",
        "user: {expr: u, const: 1}\nname: n",
        ["3:9: expected either 'const' or 'expr', found both"],
    ),
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
    (
        "an unknown type",
        "user: {expr: u, as: int}\nname: n",
        ["3:23: expected text, integer, number, decimal, boolean, datetime or date"],
    ),
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
    (
        "a lookup of lists",
        "user: {expr: u, lookup: {a: [x]}}\nname: n",
        ["3:31: expected text, a number or a boolean, not a list or a map"],
    ),
    (
        "a format without a time",
        "user: {expr: u, format: '%Y'}\nname: n",
        ["3:27: `format` is for times; add as: datetime or as: date"],
    ),
    ("a unit without a time", "user: {expr: u, unit: s}\nname: n", ["3:25: `unit` is for times; add as: datetime"]),
    (
        "a zone without a time",
        "user: {expr: u, as: text, timezone: UTC}\nname: n",
        ["3:39: `timezone` is for times; add as: datetime"],
    ),
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
    (
        "a constant time as a number",
        "user: u\nname: n\ntime: 5",
        ["5:9: a time is written as text, such as {const: 2026-03-01T12:30:00Z}"],
    ),
    (
        "a fraction as an id",
        "user: 5.5\nname: n",
        ["3:9: expected text, found a number with a fraction; put it in quotes"],
    ),
    (
        "a field that the provider lacks",
        "user: u\nname: n\nlabel: l",
        ["5:3: bloomreach has no field 'label'; its fields are id, user, ids, name, time, properties"],
    ),
    (
        "a misspelt field with a value that does not fit",
        "user: u\nname: n\npropertis: {a: b}",
        [
            (
                "5:3: bloomreach has no field 'propertis'; did you mean 'properties'? "
                "its fields are id, user, ids, name, time, properties"
            ),
            "5:15: unknown key 'a'; did you mean 'as'?",
        ],
    ),
    (
        "properties of text",
        "user: u\nname: n\nproperties: all",
        ['5:15: expected names with values, a list of columns, or "*" for all columns that are left'],
    ),
    (
        "a property that is none",
        "user: u\nname: n\nproperties: {x: null}",
        ["5:19: a value is missing; expected a SQL expression such as a column's name, or {const: …}"],
    ),
    (
        "an aggregate",
        "user: u\nname: n\nproperties:\n  x: 1 + SUM(a)",
        ["6:12: SUM sums up many rows; an expression is computed row by row"],
    ),
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
    (
        "a function from elsewhere",
        "user: sha256(u)\nname: n",
        ["3:9: no SQL function sha256; use the option hash: sha256"],
    ),
    ("two expressions", "user: u, v\nname: n", ["3:10: ',' is not expected here; write one expression"]),
    ("no expression", "user: ' '\nname: n", ["3:9: the expression is empty"]),
    (
        "a sub-select",
        "user: (SELECT 1)\nname: n",
        ["3:10: a SELECT inside an expression is refused; join in the source's query"],
    ),
    ("a longer table", "user: UNNEST(a)\nname: n", ["3:9: UNNEST changes the number of rows; that is refused"]),
    ("all columns as one", "user: '*'\nname: n", ["3:9: '*' is no value; properties: \"*\" takes all columns"]),
    (
        "an alias",
        "user: a AS b\nname: n",
        [
            (
                "3:14: 'b' follows an expression that is complete; a column name with blanks stands in double quotes, "
                "a text in single quotes, and {const: a AS b} sends it as it is"
            )
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
        [
            (
                "4:9: ORDER is a word of SQL; a column of this name stands in double quotes; "
                "to send this text itself write {const: order paid}"
            )
        ],
    ),
    (
        "a word of SQL",
        "user: upper(user)\nname: n",
        ["3:15: USER is a word of SQL; a column of this name stands in double quotes"],
    ),
    (
        "a long expression",
        "user: " + " || ".join(["a"] * 402) + "\nname: n",
        [
            (
                "3:9: the expression is too long; at most 20,000 characters and 400 operators (a long CASE is "
                "better written as a lookup)"
            )
        ],
    ),
    (
        "a block of SQL",
        "user: >\n  CASE WHEN a THEN b\n  ELSE now() END\nname: n",
        [
            (
                "5:10: NOW takes the time of the run, so that a resend would differ; a column of this name "
                "stands in double quotes"
            )
        ],
    ),
]


@pytest.mark.parametrize(("fields", "expected"), [e[1:] for e in EVENTS], ids=[e[0] for e in EVENTS])
def test_problems_of_an_event(tmp_path: Path, fields: str, expected: list[str]) -> None:
    assert problems(event(tmp_path, fields)) == expected
