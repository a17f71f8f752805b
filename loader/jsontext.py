"""JSON text from polars columns: compact, UTF-8, the same bytes for the same values, no Python object per row.

Polars' own `struct.json_encode` escapes text rightly but writes nulls, turns NaN into null and decimals into text; so
only texts pass through it, and the members are joined here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from loader.jsontype import is_json

TimeText = Callable[[pl.Expr], pl.Expr]


def text(expr: pl.Expr) -> pl.Expr:
    """The JSON string of a text; null stays null."""
    wrapped = pl.struct(expr.alias("x")).struct.json_encode()
    return pl.when(expr.is_not_null()).then(wrapped.str.strip_prefix('{"x":').str.strip_suffix("}"))


def literal(value: object) -> str:
    """The JSON text of a Python value that stands in a mapping or a message."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def value(expr: pl.Expr, dtype: pl.DataType, time: TimeText | None = None) -> pl.Expr:
    """The JSON text of a column of `dtype`; null stays null.

    Integers, decimals and floats are written with all their digits, dates as `YYYY-MM-DD`, structs as objects without
    their null members, lists as arrays. `time` writes a `Datetime` in UTC as JSON text; default: ISO 8601 text.
    NaN and infinity must have been rejected (`finite`); Binary, Duration and Object are not for JSON.
    """
    if is_json(dtype):
        return expr.ext.storage()
    if dtype == pl.String:
        return text(expr)
    if isinstance(dtype, pl.Boolean) or dtype.is_numeric():
        return expr.cast(pl.String)
    if isinstance(dtype, pl.Datetime):
        return quoted(iso(expr, dtype)) if time is None or dtype.time_zone is None else time(expr)
    if isinstance(dtype, pl.Date):
        return quoted(expr.dt.to_string("%Y-%m-%d"))
    if isinstance(dtype, pl.Time):
        return quoted(expr.dt.to_string("%H:%M:%S%.f"))
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        return text(expr.cast(pl.String))
    if isinstance(dtype, pl.List):
        element = value(pl.element(), _instance(dtype.inner), time)
        return pl.concat_str(pl.lit("["), expr.list.eval(element.fill_null("null")).list.join(","), pl.lit("]"))
    if isinstance(dtype, pl.Array):
        return value(expr.arr.to_list(), pl.List(dtype.inner), time)
    if isinstance(dtype, pl.Struct):
        members = [(f.name, value(expr.struct.field(f.name), _instance(f.dtype), time)) for f in dtype.fields]
        return pl.when(expr.is_not_null()).then(obj(members))
    if dtype == pl.Null:
        return expr.cast(pl.String)
    raise TypeError(f"a value of type {dtype} has no JSON text")


def quoted(expr: pl.Expr) -> pl.Expr:
    """A text that needs no escaping, in quotes."""
    return pl.concat_str(pl.lit('"'), expr, pl.lit('"'))


def iso(expr: pl.Expr, dtype: pl.Datetime) -> pl.Expr:
    """ISO 8601 text of a time, in UTC with `Z` where it carries a zone."""
    if dtype.time_zone is None:
        return expr.dt.to_string("%Y-%m-%dT%H:%M:%S%.f")
    return expr.dt.convert_time_zone("UTC").dt.to_string("%Y-%m-%dT%H:%M:%S%.fZ")


def seconds(expr: pl.Expr) -> pl.Expr:
    """A time as a JSON number of seconds since 1970, to the microsecond, printed from integers."""
    micros = expr.dt.timestamp("us")
    fraction = micros.abs() % 1_000_000
    return pl.concat_str(
        pl.when(micros < 0).then(pl.lit("-")).otherwise(pl.lit("")),
        (micros.abs() // 1_000_000).cast(pl.String),
        pl.when(fraction > 0)
        .then(pl.concat_str(pl.lit("."), fraction.cast(pl.String).str.zfill(6)))
        .otherwise(pl.lit("")),
    )


def obj(members: Sequence[tuple[str, pl.Expr]], always: bool = False) -> pl.Expr:
    """The JSON object of `(key, JSON text)` members, without those that are null. `always`: the first never is."""
    if not members:
        return pl.lit("{}")
    parts = [pl.concat_str(pl.lit(f",{literal(key)}:"), json_text) for key, json_text in members]
    if always:
        key, json_text = members[0]
        parts[0] = pl.concat_str(pl.lit(f"{{{literal(key)}:"), json_text)
        return pl.concat_str(*parts, pl.lit("}"), ignore_nulls=True)
    inner = pl.concat_str(*parts, ignore_nulls=True).str.strip_prefix(",")
    return pl.concat_str(pl.lit("{"), inner, pl.lit("}"))


def finite(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    """Boolean: no NaN and no infinity anywhere in the value (null is finite); None where the type cannot hold them."""
    if dtype.is_float():
        return expr.is_finite().fill_null(True)
    if isinstance(dtype, pl.List):
        inner = finite(pl.element(), _instance(dtype.inner))
        return None if inner is None else expr.list.eval(inner).list.all().fill_null(True)
    if isinstance(dtype, pl.Array):
        return finite(expr.arr.to_list(), pl.List(dtype.inner))
    if isinstance(dtype, pl.Struct):
        parts = [finite(expr.struct.field(f.name), _instance(f.dtype)) for f in dtype.fields]
        present = [part for part in parts if part is not None]
        return pl.all_horizontal(present) if present else None
    return None


def _instance(dtype: Any) -> pl.DataType:
    """A type inside a type, which polars allows to be given as a class."""
    instance: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return instance
