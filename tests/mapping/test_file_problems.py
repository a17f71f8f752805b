"""What is wrong with a mapping file as a whole has its message, at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from loader.errors import MappingError, UsageError
from loader.mapping import read
from tests.mapping.support import BATCH, BLOOMREACH, SOURCE, problems, write

EVENT = "event: {user: u, name: n}\n"

# (what is wrong, the file's text, its problems)
FILES: list[tuple[str, str, list[str]]] = [
    ("empty", "", ["1:1: the file is empty; a mapping needs at least source, event and destinations"]),
    (
        "only comments",
        "# nothing\n",
        ["1:1: the file is empty; a mapping needs at least source, event and destinations"],
    ),
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
        [
            "6:1: duplicate key 'source'; it stands on line 1 already",
            "7:1: duplicate key 'where'; it stands on line 5 already",
        ],
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
        SOURCE + "steps: {user: u}\n" + EVENT + BLOOMREACH,
        ["2:1: unknown key 'steps'; the keys are source, timezone, where, event, customer, destinations"],
    ),
    ("no source", EVENT + BLOOMREACH, ["1:1: 'source' is missing"]),
    ("no event", SOURCE + BLOOMREACH, ["1:1: 'event' (or 'customer') is missing"]),
    ("no destinations", SOURCE + EVENT, ["1:1: 'destinations' is missing"]),
    ("destinations empty", SOURCE + EVENT + "destinations: []\n", ["3:15: expected at least one"]),
    (
        "destinations no list",
        SOURCE + EVENT + "destinations: {a: b}\n",
        ["3:15: expected a list, found keys with values"],
    ),
    (
        "a destination of text",
        SOURCE + EVENT + "destinations: [batch]\n",
        ["3:16: expected names with values, found text"],
    ),
    (
        "nothing after a key",
        SOURCE + "where:\n" + EVENT + BLOOMREACH,
        ["2:1: nothing stands here; fill it in or take the key out"],
    ),
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
    (
        "a source without a type",
        "source: {path: x}\n" + EVENT + BLOOMREACH,
        ["1:9: 'type' is missing; one of csv, parquet, jsonl, sql"],
    ),
    (
        "keys of a source",
        "source:\n  type: csv\n  pth: x\n  separator: ';;'\n  has_header: maybe\n  types: {a: int}\n"
        + EVENT
        + BLOOMREACH,
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
        "a lag of nothing without an id",
        "source: {type: csv, path: x, cursor: {column: a, lag: 0}}\n" + EVENT + BLOOMREACH,
        ["1:55: `lag` reads rows again; without `event.id` they would be sent twice"],
    ),
    (
        "what cannot be expected",
        "source:\n  type: csv\n  path: x\n  settle: soon\n"
        "  expect: {rows: 500..100, change: 0.5, unmet: shout, row: 1}\n" + EVENT + BLOOMREACH,
        [
            "4:11: 'soon' is not a duration; expected seconds, or a text such as 500ms, 30s, 5m, 24h",
            "5:18: 500 is more than 100; write the lower number first",
            "5:36: expected a change such as 50%, -50%.. or -50%..+200%",
            "5:48: expected stop or say",
            "5:55: unknown key 'row'; did you mean 'rows'?",
        ],
    ),
    (
        "numbers that are none",
        "source: {type: csv, path: x, expect: {rows: many, change: +200%..-50%}}\n" + EVENT + BLOOMREACH,
        [
            "1:45: expected a number of rows such as 1000.., ..5000 or 1000..5000",
            "1:59: the lower change stands first, such as -50%..+200%",
        ],
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
    (
        "no provider",
        SOURCE + EVENT + "destinations: [{name: x}]\n",
        ["3:16: 'provider' is missing; one of batch, appizer, bloomreach, pushengage"],
    ),
    (
        "keys of a destination",
        SOURCE
        + EVENT
        + (
            "destinations:\n  - provider: batch\n    api_key: k\n    chnk: 5\n    rate: fast\n"
            "    late_events: no\n    concurrency: 99\n"
        ),
        [
            "4:5: 'rest_api_key' is missing",
            "6:5: unknown key 'chnk'; did you mean 'chunk'?",
            "7:11: 'fast' is not a rate; expected requests and a unit such as 10/s, 100/min, 5000/h",
            "8:18: expected stop, reject, omit_time or send",
            "9:18: expected at most 64",
        ],
    ),
    (
        "an unknown route",
        SOURCE + EVENT + "destinations: [{provider: batch, route: fast, api_key: k, rest_api_key: r}]\n",
        ["3:41: batch has no route 'fast'; it has bulk, single"],
    ),
    (
        "a chunk over the limit",
        SOURCE + EVENT + "destinations: [{provider: batch, chunk: 1001, api_key: k, rest_api_key: r}]\n",
        [
            (
                "3:41: batch takes at most 1000 events per call "
                "(https://doc.batch.com/developer/api/mep/trigger-events-api/track-events)"
            )
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
        (
            "source: {type: csv}\nevent: {user: NOW(), nam: x}\n"
            "destinations: [{provider: batch, api_key: k}, {provider: x}]\n"
        ),
        [
            "1:9: 'path' is missing",
            "2:8: 'name' is missing; a fixed name is written name: {const: purchase}",
            (
                "2:15: NOW takes the time of the run, so that a resend would differ; "
                "a column of this name stands in double quotes"
            ),
            (
                "2:22: batch has no field 'nam'; did you mean 'name'? "
                "its fields are id, user, ids, name, time, properties, label, tags"
            ),
            "3:16: 'rest_api_key' is missing",
            "3:58: no provider 'x'; the providers are batch, appizer, bloomreach, pushengage",
        ],
    ),
]


@pytest.mark.parametrize(("text", "expected"), [f[1:] for f in FILES], ids=[f[0] for f in FILES])
def test_problems_of_a_file(tmp_path: Path, text: str, expected: list[str]) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text, encoding="utf-8")
    assert problems(path) == expected


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
        "source": [
            "type",
            "path",
            "separator",
            "quote",
            "encoding",
            "has_header",
            "columns",
            "null_values",
            "types",
            "cursor",
        ],
        "event": ["id", "user", "ids", "name", "time", "properties", "label"],
        "destinations": [
            "provider",
            "name",
            "base_url",
            "route",
            "rate",
            "concurrency",
            "timeout",
            "chunk",
            "late_events",
            "in_doubt",
            "give_up_after",
            "event",
            "project_token",
        ],
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
                    f"{key}: "
                    + ("[{%s}]" if key == "destinations" else "{%s}") % ", ".join(f"{k}: {v}" for k, v in part.items())
                    + "\n"
                    for key, part in parts.items()
                )
                try:
                    read(write(tmp_path, text), env={})
                except MappingError as error:
                    said = str(error)
                    said = said.replace(str(tmp_path), "")
                    for jargon in (
                        "Input should",
                        "input should",
                        "Value error",
                        "pydantic",
                        "dictionary",
                        "valid ",
                        "None",
                        "NoneType",
                    ):
                        assert jargon not in said, (text, said)
