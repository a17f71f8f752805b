"""JSON lines: values arrive as they stand in the file."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loader import jsontext
from loader.jsontype import DIGITS, JSON
from loader.sources.jsonl import JsonlSource
from tests.sources.helpers import failure, read, sized


def source(path: Path, **keys: Any) -> dict[str, Any]:
    return {"type": "jsonl", "path": str(path), **keys}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(content: str | bytes, name: str = "events.jsonl") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def as_json(found: Any, column: str) -> list[str | None]:
    """What a provider would be sent for `column`."""
    texts: list[str | None] = []
    for frame in found.frames:
        texts += frame.rows.select(jsontext.value(pl.col(column), frame.rows.schema[column])).to_series().to_list()
    return texts


def test_scalars_keep_their_types(write: Any) -> None:
    path = write(
        '{"i":9223372036854775807,"f":0.1,"b":true,"s":"00123","row":1}\n\n{"i":-9223372036854775808,"x":null}\r\n'
    )
    found = read(source(path))
    assert found.columns == {
        "i": pl.Int64(),
        "f": pl.Float64(),
        "b": pl.Boolean(),
        "s": pl.String(),
        "row": pl.Int64(),
        "x": pl.String(),
    }
    assert found.rows[0] == {"i": 2**63 - 1, "f": 0.1, "b": True, "s": "00123", "row": 1, "x": None}
    assert found.rows[1]["i"] == -(2**63)
    assert found.numbers == [1, 2]


@pytest.mark.parametrize(
    "tokens",
    [
        ["12", "12.5"],
        ["12.10", "3.5"],
        ["9223372036854775808", "1"],
        ["123456789012345678901234567890"],
        ["1e3", "2.5"],
        ["0.12345678901234567890"],
        ["1E-7"],
        ["0.00001"],
    ],
)
def test_numbers_arrive_digit_for_digit(write: Any, tokens: list[str]) -> None:
    found = read(source(write("".join(f'{{"n": {token}}}\n' for token in tokens))))
    assert found.columns == {"n": DIGITS}
    assert as_json(found, "n") == tokens


def test_nested_values_stay_nested(write: Any) -> None:
    found = read(source(write('{"u":{"id":1,"tags":["a"]}}\n{"u":{"id":2,"plan":{"k":"x"}}}\n{"u":null}\n{}\n')))
    assert as_json(found, "u") == ['{"id":1,"tags":["a"]}', '{"id":2,"plan":{"k":"x"}}', None, None]
    ids = pl.concat([frame.rows for frame in found.frames]).select(pl.sql_expr("u.id")).to_series()
    assert ids.to_list() == [1, 2, None, None]


def test_members_of_two_types_are_kept_as_they_are(write: Any) -> None:
    lines = ['{"id":1,"v":1}', '{"id":2,"v":"x"}', '{"id":3,"v":[1,{"y":12.10}]}', '{"id":4}']
    found = read(source(write("".join(f'{{"u": {line}}}\n' for line in lines))))
    assert found.columns == {"u": pl.Struct({"id": pl.Int64(), "v": JSON})}
    assert as_json(found, "u") == lines
    assert [frame.rows.select(pl.sql_expr("u.id")).to_series().to_list() for frame in found.frames] == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    "values",
    [
        ['{"a":1}', "[1]"],
        ["[1,2]", '["x"]'],
        ["[1,null,2.5]"],
        ["{}"],
        ["[[1],[]]", "[]"],
        ['[{"a":1},{"b":"x"}]'],
        ["[" * 100 + "]" * 100],
        [json.dumps({f"k{i}": i for i in range(400)}, separators=(",", ":")), '{"k1":5}'],
    ],
)
def test_nested_values_of_any_form_arrive_as_they_were(write: Any, values: list[str]) -> None:
    found = read(source(write("".join(f'{{"v": {value}}}\n' for value in values))))
    assert as_json(found, "v") == values


def test_a_column_of_two_types_is_an_error_with_a_way_out(write: Any) -> None:
    path = write('{"x":12.10}\n\n{"y":1}\n{"x":"abc"}\n')
    assert failure(source(path)) == (
        f"the column 'x' holds a number of many digits (row 1: {path}, line 1) and text (row 3: {path}, line 4); "
        "write `types: {x: text}` under `source:` to take all as text"
    )
    assert "true or false (row 1" in failure(source(write('{"x":true}\n{"x":1}\n')))
    assert "an object (row 2" in failure(source(write('{"x":1}\n{"x":{}}\n')))
    path = write('{"x":12.10}\n{"x":"abc"}\n{"x":{"a": [1, 2.50]}}\n{"x":true}\n{"x":null}\n')
    found = read(source(path, types={"x": "text"}))
    assert [row["x"] for row in found.rows] == ["12.10", "abc", '{"a":[1,2.50]}', "true", None]
    assert len(read(source(path), used=["y"]).rows) == 5


def test_types(write: Any) -> None:
    path = write(
        '{"n":1,"d":12.10,"t":"2026-03-01T00:00:00Z","i":"7"}\n{"n":2.5,"d":3,"t":"soon","i":8}\n{"n":"3","d":"1.234"}\n'
    )
    found = read(source(path, types={"n": "number", "d": "decimal", "t": "datetime", "i": "integer"}))
    assert found.rows[0] == {"n": 1.0, "d": Decimal("12.100"), "t": datetime(2026, 3, 1, tzinfo=UTC), "i": 7}
    assert found.columns["d"] == pl.Decimal(38, 3)
    assert found.rejected[0][:4] == (2, "bad_time", "t", "soon")
    assert found.numbers == [1, 3]
    assert "does not have; did you mean 'n'" in failure(source(write('{"n":1}'), types={"nn": "text"}))
    mixed = read(source(write('{"n":1}\n{"n":2.5}\n'), types={"n": "number"}))
    assert mixed.rows == [{"n": 1.0}, {"n": 2.5}]


def test_lines_that_are_no_objects_are_rejected_alone(write: Any) -> None:
    deep = '{"a":' + "[" * 2000 + "]" * 2000 + "}"
    lines = [
        '{"a":1}',
        "{a:1}",
        "[1]",
        '{"a":NaN}',
        '{"a":1e999}',
        '{"a":"\\ud800"}',
        deep,
        '{"a":2',
        '{"a":3}',
        "null",
    ]
    path = write("\n".join(lines))
    found = read(source(path))
    assert [row["a"] for row in found.rows] == [1, 3]
    assert [row[:2] for row in found.rejected] == [(n, "bad_json") for n in (2, 3, 4, 5, 6, 7, 8, 10)]
    assert found.rejected[1][4] == "line 3: not a JSON object: it is a list"
    assert found.rejected[6][4].startswith("line 8: not a JSON object: ")
    assert found.records[2] == "{a:1}"
    bad = read(source(write(b'{"a":"caf\xe9"}\n{"a":"x"}\n')))
    assert bad.rejected[0][:2] == (1, "bad_encoding")
    assert bad.rows == [{"a": "x"}]


def test_of_a_key_that_stands_twice_the_last_counts(write: Any) -> None:
    for text in ('{"a":1,"a":2}\n{"a":3}\n', '{"a" : 1,"a":2}\n{"a":3}\n', '{"a":1.50,"a":2}\n{"a":3}\n'):
        assert [row["a"] for row in read(source(write(text))).rows] == [2, 3]


def test_files(write: Any, tmp_path: Path) -> None:
    path = write("")
    assert failure(source(path)) == f"{path} is empty (0 bytes)"
    path = write('{"a":1}\n'.encode("utf-16"))
    assert failure(source(path)) == f"{path} looks like UTF-16; save it as UTF-8"
    path.unlink()
    write(gzip.compress(b'\xef\xbb\xbf{"a":1}\n'), "1.jsonl.gz")
    write('{"b":"x"}\n{"a":2}', "2.jsonl")
    found = read(source(tmp_path / "*.jsonl*"))
    assert found.rows == [{"a": 1, "b": None}, {"a": None, "b": "x"}, {"a": 2, "b": None}]


def test_a_plain_file_is_read_by_polars(write: Any) -> None:
    path = write("".join(json.dumps({"a": i, "s": "x", "l": [1.5], "o": {"k": "v"}}) + "\n" for i in range(1000)))
    with patch.object(JsonlSource, "_slowly", side_effect=AssertionError):
        assert len(read(source(path)).rows) == 1000


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=6,
)
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "n": st.integers(-(2**64), 2**64) | st.floats(allow_nan=False, allow_infinity=False) | st.none(),
    "i": st.integers(-(2**63), 2**63 - 1) | st.none(),
    "f": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "s": st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    | st.sampled_from(['":', '" :', "1.50", ", 2e5,"]),
    "v": st.lists(VALUES, max_size=3) | st.dictionaries(st.text(max_size=3), VALUES, max_size=3),
    "o": st.fixed_dictionaries({}, optional={"id": st.integers(0, 9), "t": st.text("ab", max_size=2)}),
}


def pruned(value: Any) -> Any:
    """`value` without null members of objects."""
    if isinstance(value, dict):
        return {key: pruned(member) for key, member in value.items() if member is not None}
    return [pruned(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.fixed_dictionaries({}, optional=COLUMNS), min_size=1, max_size=8),
    compact=st.booleans(),
    ascii_only=st.booleans(),
    block=st.sampled_from([1, 5, 40, 1 << 20]),
    frame=st.integers(1, 4),
)
@example([{"v": {"a": {"b": None}}}, {"v": {"a": None}}, {"v": {}}], True, True, 1, 1)
def test_any_objects_are_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, Any]],
    compact: bool,
    ascii_only: bool,
    block: int,
    frame: int,
) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "rows.jsonl"
    separators = (",", ":") if compact else None
    text = "\n".join(json.dumps(row, ensure_ascii=ascii_only, separators=separators) for row in rows)
    path.write_text(text, encoding="utf-8", newline="\n")
    with sized(block, frame):
        found = read(source(path))
    assert found.rejected == []
    for name in found.columns:
        back = [None if text is None else json.loads(text) for text in as_json(found, name)]
        expected = [row.get(name) for row in rows]
        assert [pruned(value) for value in back] == [pruned(value) for value in expected]
        assert [type(value) for value in back] == [type(value) for value in expected]
