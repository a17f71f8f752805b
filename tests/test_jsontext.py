"""JSON text: whatever goes in comes out of a JSON parser as it was."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import jsontext
from loader.jsontype import JSON

texts = st.text(st.characters(exclude_categories=["Cs"]))


def written(values: list[Any], dtype: Any) -> list[str | None]:
    frame = pl.DataFrame({"x": pl.Series(values, dtype=dtype, strict=False)})
    return frame.select(jsontext.value(pl.col("x"), frame.schema["x"])).to_series().to_list()


def read(text: str | None, **options: Any) -> Any:
    return None if text is None else json.loads(text, **options)


@given(st.lists(st.none() | texts, min_size=1))
def test_any_text(values: list[str | None]) -> None:
    assert [read(text) for text in written(values, pl.String)] == values


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_any_integer(values: list[int | None]) -> None:
    assert [read(text) for text in written(values, pl.Int64)] == values


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_any_unsigned_integer(values: list[int]) -> None:
    assert [read(text) for text in written(values, pl.UInt64)] == values


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_any_finite_float(values: list[float]) -> None:
    found = [read(text) for text in written(values, pl.Float64)]
    assert [(float(f), math.copysign(1, f)) for f in found] == [(v, math.copysign(1, v)) for v in values]


@given(st.lists(st.decimals(-(10**20), 10**20, places=4), min_size=1))
def test_any_decimal_keeps_its_digits(values: list[Decimal]) -> None:
    found = [read(text, parse_float=Decimal) for text in written(values, pl.Decimal(38, 4))]
    assert [str(f) for f in found] == [str(v.quantize(Decimal("0.0001")) + 0) for v in values]


@given(
    st.lists(st.fixed_dictionaries({"a": st.none() | texts, "b": st.lists(st.none() | st.integers(-9, 9))}), min_size=1)
)
def test_nested_values_without_the_null_members_of_objects(values: list[dict[str, Any]]) -> None:
    found = [read(text) for text in written(values, pl.Struct({"a": pl.String, "b": pl.List(pl.Int64)}))]
    assert found == [{key: value for key, value in row.items() if value is not None} for row in values]


@given(st.lists(st.lists(st.fixed_dictionaries({"k": texts})), min_size=1))
def test_lists_of_objects(values: list[list[dict[str, str]]]) -> None:
    assert [read(text) for text in written(values, pl.List(pl.Struct({"k": pl.String})))] == values


@given(st.dictionaries(texts, texts, max_size=4))
def test_any_key(members: dict[str, str]) -> None:
    written_object = pl.select(
        jsontext.obj([(key, jsontext.text(pl.lit(text))) for key, text in members.items()])
    ).item()
    assert json.loads(written_object) == members


# Texts and keys that look like members, to mislead what takes null members out of encoded objects.
pieces = ['"', "\\", ",", ":", "{", "}", "[", "]", "null", "a", "b", '"a":null']
tricky = st.lists(st.sampled_from(pieces), max_size=6).map("".join)
keys = st.sampled_from(["a", "b", "a b", "date(a)", "é", "schema", "eager", ":null", ",a", "}", "", "a.b", 'a"'])


@given(st.data())
def test_an_object_encoded_at_once_is_the_one_written_member_by_member(data: st.DataObject) -> None:
    names = data.draw(st.lists(keys, min_size=1, max_size=4, unique=True))
    # Null members are found by their names as long as these are few.
    names += data.draw(st.sampled_from([[], [f"key {at}" for at in range(10)]]))
    value = st.none() | tricky
    rows = data.draw(st.lists(st.tuples(*[value for _ in names], st.lists(value, max_size=2)), min_size=1, max_size=4))
    columns = [*names, "list"]
    dtypes: list[Any] = [*[pl.String] * len(names), pl.List(pl.String)]
    frame = pl.DataFrame([pl.Series(str(at), [row[at] for row in rows], dtype) for at, dtype in enumerate(dtypes)])
    members = [(name, jsontext.member(pl.col(str(at)), frame.schema[str(at)])) for at, name in enumerate(columns)]
    nested = [("always", jsontext.present(pl.lit("x"))), ("inner", jsontext.inner(members))]
    empty = [("first", pl.lit(None, pl.String)), ("inner", jsontext.nested(members)), ("last", pl.lit(None, pl.String))]
    expected = [{name: v for name, v in zip(columns, row, strict=True) if v is not None} for row in rows]
    assert [json.loads(text) for text in frame.select(jsontext.obj(members)).to_series()] == expected
    found = frame.with_columns(found=jsontext.obj(nested)).get_column("found")
    assert [json.loads(text) for text in found] == [{"always": "x", "inner": inner} for inner in expected]
    found = frame.with_columns(found=jsontext.obj(empty)).get_column("found")
    assert [json.loads(text) for text in found] == [{"inner": inner} for inner in expected]
    full = [name for name in frame.columns if not frame[name].null_count()]
    for some in (members, nested, empty):
        knowing, without = (frame.with_columns(found=jsontext.obj(some, known))["found"] for known in (full, ()))
        assert knowing.to_list() == without.to_list()


@pytest.mark.parametrize("more", [0, 20])
def test_any_letter_and_digit_may_stand_in_the_key_of_a_null(more: int) -> None:
    # As Python sees them: polars' expressions know fewer.
    names = ["area m²", "½", "Ⅳ", "٣", "ǅ", "_a", "一 (1.2-3)", "ꟿ", *[f"key {at}" for at in range(more)]]
    frame = pl.DataFrame({name: [None, name] for name in names}, schema=dict.fromkeys(names, pl.String))
    members = [(name, jsontext.member(pl.col(name), pl.String())) for name in names]
    found = frame.select(x=jsontext.obj(members)).get_column("x")
    assert [json.loads(text) for text in found] == [{}, {name: name for name in names}]


def test_an_inner_object_without_members_is_left_out() -> None:
    frame = pl.DataFrame({"a": ["1", None], "b": [2, None]})
    native = [(name, jsontext.member(pl.col(name), frame.schema[name])) for name in frame.columns]
    for members in (native, [*native, ("time", pl.lit(None, pl.String))]):
        outer = [("k", jsontext.present(pl.lit("x"))), ("i", jsontext.inner(members))]
        found = frame.with_columns(x=jsontext.obj(outer))
        assert found["x"].to_list() == ['{"k":"x","i":{"a":"1","b":2}}', '{"k":"x"}']


def test_a_nested_object_without_members_is_there() -> None:
    frame = pl.DataFrame({"a": ["1", None], "b": [2, None]})
    native = [(name, jsontext.member(pl.col(name), frame.schema[name])) for name in frame.columns]
    for members in (native, [*native, ("time", pl.lit(None, pl.String))]):
        found = frame.with_columns(x=jsontext.obj([("i", jsontext.nested(members))]))
        assert found["x"].to_list() == ['{"i":{"a":"1","b":2}}', '{"i":{}}']


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)))
def test_seconds_to_the_microsecond(moment: datetime) -> None:
    at = moment.replace(tzinfo=UTC)
    series = pl.Series("x", [at], dtype=pl.Datetime("us", "UTC"))
    text = pl.DataFrame(series).select(jsontext.seconds(pl.col("x"))).item()
    exact = Decimal((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)).scaleb(-6)
    assert Decimal(json.loads(text, parse_float=Decimal)) == exact


def test_json_text_passes_as_it_is() -> None:
    raw = ['{"b": 1.50, "a": null}', None]
    frame = pl.DataFrame(pl.Series("x", raw, dtype=pl.String).ext.to(JSON))
    assert frame.select(jsontext.value(pl.col("x"), frame.schema["x"])).to_series().to_list() == raw


def test_objects_leave_null_members_out() -> None:
    row = pl.DataFrame({"a": [None, "1"], "b": ["2", None]}, schema={"a": pl.String, "b": pl.String})
    found = row.select(jsontext.obj([("a", pl.col("a")), ("b", pl.col("b"))])).to_series().to_list()
    assert found == ['{"b":2}', '{"a":1}']


@pytest.mark.parametrize("dtype", [pl.Binary(), pl.Duration("us"), pl.Object()])
def test_types_without_json_text(dtype: pl.DataType) -> None:
    with pytest.raises(TypeError, match="has no JSON text"):
        jsontext.value(pl.col("x"), dtype)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1.0, math.nan, math.inf, None], pl.Float64(), [True, False, False, True]),
        ([[1.0], [math.nan], None], pl.List(pl.Float64), [True, False, True]),
        ([{"a": [math.inf]}, {"a": [1.0]}], pl.Struct({"a": pl.List(pl.Float64)}), [False, True]),
    ],
)
def test_finite(values: list[Any], dtype: pl.DataType, expected: list[bool]) -> None:
    expression = jsontext.finite(pl.col("x"), dtype)
    assert expression is not None
    assert pl.DataFrame({"x": pl.Series(values, dtype=dtype)}).select(expression).to_series().to_list() == expected


@given(
    st.lists(st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999))),
    st.integers(1, 3000),
)
def test_times_to_the_second(moments: list[datetime | None], near: int) -> None:
    # Those near to each other are written another way than those far apart.
    close = [datetime(1969, 12, 31, 12) + timedelta(seconds=37.25 * number) for number in range(near)]
    for values in (moments, [*close, None]):
        times = pl.Series(values, dtype=pl.Datetime("us", "UTC"))
        expected = [None if m is None else m.replace(microsecond=0).isoformat() for m in values]
        assert jsontext.to_the_second(times).to_list() == expected
