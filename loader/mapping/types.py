"""Whether a value of some type can become what its field needs: found before any row is read."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from loader.jsontype import inner_type, is_json
from loader.mapping.language import Kind
from loader.mapping.models import Value
from loader.mapping.values import literal_type, lookup_type

_WAYS_OUT = {
    "Binary": "is binary; send its text instead, such as CAST(x AS VARCHAR) where the bytes are text, or leave it out",
    "Duration": "is a span of time; compute a number from it in the source, or leave it out",
    "Map": "is a map of keys and values; make columns of its members in the source, or leave it out",
    "Object": "holds Python objects; leave it out",
}


_CONVERTED: dict[str, pl.DataType] = {
    "text": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    # A decimal keeps its digits, so that no field takes it for a floating-point number.
    "decimal": pl.Decimal(38, 0),
    "boolean": pl.Boolean(),
}


def misfit(value: Value, kind: Kind, dtype: pl.DataType, timezone: str | None) -> tuple[str, str] | None:
    """Why values of `dtype` cannot go through the options of `value` into a field of `kind`.

    The option whose place is to blame ("" for the value itself), and what to say; None where all is well.
    """
    zone = value.timezone or timezone
    options = value.model_fields_set - {"expr", "const"}
    wrong = next(_never(dtype), None)
    if wrong is not None:
        return "", f"the value {_WAYS_OUT[wrong]}"
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        dtype = pl.String()
    if is_json(dtype):
        if not options:
            return None if kind == "property" else ("", "a JSON value is no text; add as: text")
        dtype = pl.String()
    if kind == "list":
        inner = inner_type(dtype.inner) if isinstance(dtype, (pl.List, pl.Array)) else None
        if inner is None or inner.is_nested() or inner.is_float():
            return "", f"expected a list of texts, found {words(dtype)}; a list of one is written [x]"
        return None
    if dtype.is_nested():
        if options or kind != "property":
            return "", f"expected one value, found {words(dtype)}; take a part of it, such as x.name or x[1]"
        return _naive_inside(dtype)
    return _after_options(value, kind, dtype, zone)


def _after_options(value: Value, kind: Kind, dtype: pl.DataType, zone: str | None) -> tuple[str, str] | None:
    if value.lookup is not None:
        dtype = lookup_type(value)
    if value.default is not None and (found := _default(value, dtype)) is not None:
        return found
    if dtype == pl.Null:
        dtype = pl.String() if value.default is None else literal_type(value.default)
    if value.as_ == "date":
        if not (dtype == pl.String or isinstance(dtype, (pl.Date, pl.Datetime))):
            return "as", f"{words(dtype)} cannot become a date"
        if dtype != pl.String and value.format is not None:
            return "format", f"`format` is for text, found {words(dtype)}"
        dtype = pl.Date()
    elif value.as_ is not None and value.as_ != "datetime":
        if value.as_ != "text" and dtype.is_temporal():
            return "as", f"{words(dtype)} cannot become {value.as_}"
        dtype = _CONVERTED[value.as_]
    if kind == "time" or value.as_ == "datetime":
        return _time(value, dtype, zone)
    if value.hash is not None:
        return None
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None and kind == "property" and zone is None:
        return "", "the time has no zone; name it with `timezone:`, such as Europe/Paris or UTC"
    if value.timezone is not None and not isinstance(dtype, pl.Datetime):
        return "timezone", f"`timezone` is for times, found {words(dtype)}"
    if kind == "text" and dtype.is_float() and value.as_ != "text":
        return "", f"found {words(dtype)}, which would be sent as 17850.0; write CAST(… AS BIGINT), or add as: text"
    return None


def _time(value: Value, dtype: pl.DataType, zone: str | None) -> tuple[str, str] | None:
    if dtype == pl.Boolean or isinstance(dtype, pl.Time):
        return "", f"{words(dtype)} is no moment in time"
    if dtype.is_numeric() and value.unit is None:
        return "", "a number is a time only with its unit; add unit: s, ms or us (since 1970)"
    if dtype.is_temporal() and value.unit is not None:
        return "unit", "`unit` is for numbers; the value is a time already"
    if dtype != pl.String and value.format is not None and value.as_ != "date":
        return "format", f"`format` is for text, found {words(dtype)}"
    naive = isinstance(dtype, pl.Date) or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None)
    if naive and zone is None:
        return "", "the time has no zone; name it with `timezone:`, such as Europe/Paris or UTC"
    return None


def _default(value: Value, dtype: pl.DataType) -> tuple[str, str] | None:
    """A default is of the kind of the other values, or becomes it with `as`."""
    default = value.default
    if dtype == pl.Null or value.as_ == "text":
        return None
    if dtype == pl.String:
        if isinstance(default, str) or value.as_ is not None:
            return None
        written = str(default).lower()
        return "default", f"the other values are text; write default: '{written}', or add as: {_name(default)}"
    if isinstance(default, bool):
        fits = dtype == pl.Boolean
    elif isinstance(default, int):
        fits = dtype.is_numeric()
    elif isinstance(default, float):
        fits = dtype.is_float() or dtype.is_decimal()
    else:
        fits = False
    if fits:
        return None
    differ = f"the default is {_kind_of(default)}, the other values are {words(dtype)}"
    return "default", f"{differ}; make them alike, or add as: text"


def _name(default: object) -> str:
    return "boolean" if isinstance(default, bool) else "integer" if isinstance(default, int) else "number"


def _kind_of(default: object) -> str:
    return "a boolean" if isinstance(default, bool) else "text" if isinstance(default, str) else "a number"


def _never(dtype: pl.DataType) -> Iterator[str]:
    """The types in `dtype` that no provider can be sent."""
    if isinstance(dtype, (pl.Binary, pl.Duration, pl.Map, pl.Object)):
        yield type(dtype).__name__
    for inner in _inside(dtype):
        yield from _never(inner)


def _inside(dtype: pl.DataType) -> list[pl.DataType]:
    if isinstance(dtype, (pl.List, pl.Array)):
        return [inner_type(dtype.inner)]
    return [inner_type(member.dtype) for member in dtype.fields] if isinstance(dtype, pl.Struct) else []


def _naive_inside(dtype: pl.DataType) -> tuple[str, str] | None:
    for inner in _inside(dtype):
        if isinstance(inner, pl.Datetime) and inner.time_zone is None:
            return "", "times without a zone are inside the value; give them one in the source, or send them one by one"
        if (found := _naive_inside(inner)) is not None:
            return found
    return None


def words(dtype: pl.DataType) -> str:
    """A type in words."""
    if isinstance(dtype, pl.Datetime):
        return "a time"
    if isinstance(dtype, (pl.List, pl.Array)):
        return "a list"
    if dtype.is_integer():
        return "a whole number"
    if dtype.is_decimal():
        return "a decimal number"
    if dtype.is_float():
        return "a number"
    return {
        "String": "text",
        "Boolean": "a boolean",
        "Date": "a date",
        "Time": "a time of day",
        "Struct": "an object",
        "Null": "nothing but null",
    }.get(type(dtype).__name__, str(dtype))
