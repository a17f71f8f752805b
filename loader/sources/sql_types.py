"""Columns of a query's result: what the database says they are, and polars columns from the driver's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
import polars as pl

from loader import convert
from loader.jsontype import DIGITS, JSON

# plain: the driver's values fit the type. decimal, number, json, date, time: the database's text, parsed here.
# bits: bytes of a number. nothing: null in all rows. numbers, jsons: lists of such texts, taken as one JSON array.
# nested: JSON but for NaN and infinity, which it may hold.
Kind = Literal[
    "plain", "text", "decimal", "number", "json", "date", "time", "bits", "numbers", "jsons", "nested", "nothing"
]

_JSON_STRING = r'"(?:[^"\\]|\\.)*"'
_JSON_BLANKS = rf"({_JSON_STRING})|[ \t\r\n]+"


@dataclass(frozen=True)
class Column:
    """A column of a result: its name, the polars type of its values, and how they come from the driver."""

    name: str
    dtype: pl.DataType
    kind: Kind = "plain"


@dataclass(frozen=True)
class Times:
    """Dates or times as a driver read them. `texts`: as the database prints them, of the rows that may be rejected and
    of all whose value cannot be such a date or time; null elsewhere, None where there are none."""

    values: pl.Series
    texts: pl.Series | None

    def __len__(self) -> int:
        return len(self.values)


def series(column: Column, values: Sequence[Any] | pl.Series | Times) -> tuple[pl.Series, pl.Series | None]:
    """The values of `column`, and the reasons (codes of `rejection.REASONS`) of those that cannot be; null where fine.

    Raises TypeError, ValueError, OverflowError or a polars error where a value is not of the column's type at all.
    """
    name, dtype = column.name, column.dtype
    if isinstance(values, Times):
        if values.texts is None:
            return values.values.alias(name), None
        read, failures = series(column, values.texts)
        return read.zip_with(values.texts.is_not_null(), values.values).alias(name), failures
    if column.kind in ("plain", "nothing"):
        return pl.Series(name, values, dtype, strict=True), None
    if column.kind == "text":
        try:
            return pl.Series(name, values, dtype, strict=True), None
        except TypeError:
            return pl.Series(name, [value if value is None else str(value) for value in values], dtype), None
    if column.kind == "bits":
        return pl.Series(name, [value if value is None else int.from_bytes(value) for value in values], dtype), None
    if column.kind in ("numbers", "jsons"):
        arrays = pl.Series(name, [_array(value) for value in values], pl.String)
        return arrays.str.replace_all(_JSON_BLANKS, "${1}").ext.to(JSON), None
    text = pl.Series(name, values, pl.String, strict=True)
    if column.kind == "json":
        return text.str.replace_all(_JSON_BLANKS, "${1}").ext.to(JSON), None
    if column.kind == "nested":
        finite = _without(text, text.str.replace_all(_JSON_STRING, "").str.contains("NaN|Infinity"))
        return finite.ext.to(JSON), _failures(text, finite, "not_finite")
    if column.kind == "number":
        finite = _finite(text)
        return finite.ext.to(DIGITS), _failures(text, finite, "not_finite")
    if column.kind == "decimal":
        finite = _finite(text)
        return finite.cast(dtype), _failures(text, finite, "not_finite")
    if column.kind == "date":
        days = text.str.to_date("%Y-%m-%d", strict=False)
        return days, _failures(text, days, "bad_time")
    times = _times(text, dtype)
    return times, _failures(text, times, "bad_time")


def _array(value: list[Any] | None) -> str | None:
    if value is None:
        return None
    return orjson.dumps(_fragments(value)).decode()


def _fragments(value: Any) -> Any:
    if isinstance(value, list):
        return [_fragments(item) for item in value]
    return None if value is None else orjson.Fragment(value)


def _finite(text: pl.Series) -> pl.Series:
    return _without(text, text.str.contains(r"(?i)nan|inf"))


def _without(text: pl.Series, lost: pl.Series) -> pl.Series:
    return pl.select(pl.when(~lost).then(text).alias(text.name)).to_series()


def _times(text: pl.Series, dtype: pl.DataType) -> pl.Series:
    zoned = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    times = convert.to_time(text, timezone="UTC").values
    lost = (text.is_not_null() & times.is_null()).arg_true()
    if len(lost):
        # Offsets of old times have seconds, which few parsers read.
        times = times.scatter(lost, [_old(text[i]) for i in lost])
    return (times if zoned else times.dt.replace_time_zone(None)).alias(text.name)


def _old(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo is not None else None
    # The zone leads out of the years that Python has.
    except (ValueError, OverflowError):
        return None


def _failures(before: pl.Series, after: pl.Series, reason: str) -> pl.Series | None:
    if after.null_count() == before.null_count():
        return None
    return pl.select(pl.when(before.is_not_null() & after.is_null()).then(pl.lit(reason))).to_series()
