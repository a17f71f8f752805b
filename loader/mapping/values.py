"""The options of a value, applied to a column: lookup, default, as, hash; then the shape that its field needs.

Everything here works on whole columns. A value that cannot be had becomes null and is named in a `Failure`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import polars as pl

from loader import convert, jsontext
from loader.jsontype import DIGITS, is_json
from loader.mapping.expressions import tokens
from loader.mapping.language import Kind
from loader.mapping.models import Value
from loader.settings import ColumnType

# One form for a decimal: digits with at most one point. Its digits are kept as they are written.
_DECIMAL = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)$"


@dataclass(frozen=True)
class Failure:
    """Rows whose value cannot be had. `mask`: Boolean. `value`: what stood there, as text. `message`: see `reject`."""

    mask: pl.Series
    reason: str
    message: str
    value: pl.Series | None = None


def as_text(values: pl.Series) -> pl.Series:
    """Any scalar column as text: digits as they are, times in ISO 8601."""
    return values.ext.storage() if is_json(values.dtype) else convert.to_text(values)


def literal_type(value: Any) -> pl.DataType:
    """The type of a constant of the mapping file."""
    if isinstance(value, bool):
        return pl.Boolean()
    if isinstance(value, int):
        return pl.Int64()
    return pl.Float64() if isinstance(value, float) else pl.String()


def lookup_type(value: Value) -> pl.DataType:
    """The type of the values of a lookup."""
    found = [v for v in (value.lookup or {}).values() if v is not None]
    if value.as_ == "text" or not found:
        return pl.String()
    return pl.Float64() if any(isinstance(v, float) for v in found) else literal_type(found[0])


def _plain_text(value: Any) -> str | None:
    return jsontext.literal(value) if value is not None and not isinstance(value, str) else value


# A unit → the next finer one, for numbers that are too large for it.
_FINER = {"s": ("milliseconds", "ms"), "ms": ("microseconds", "us")}


class Options:
    """The options of one value, ready to be applied to columns of one type."""

    def __init__(self, value: Value, kind: Kind, name: str, timezone: str | None) -> None:
        """`name`: the event's field, for messages. `timezone`: the mapping's."""
        # With what it is computed from, unless that is a column of the same name.
        own = (value.expr or "").strip('"') == name.rpartition(".")[2]
        self.value, self.kind, self.name = value, kind, name if own else name + describe(value.expr)
        self.timezone = value.timezone or timezone
        self.has_default = "default" in value.model_fields_set
        self.divides = any(token.text == "/" for token in tokens(value.expr or ""))

    def apply(self, values: pl.Series) -> tuple[pl.Series, list[Failure]]:
        """The column as its field needs it, and the rows without a value.

        Raises `convert.TimeWithoutZone` where a time carries no zone and none is named.
        """
        failures: list[Failure] = []
        values, wild = convert.without_wild_times(values)
        if wild is not None:
            failures.append(Failure(wild, "bad_time", f"{self.name}: the time lies outside the years 1 to 9999"))
        if isinstance(values.dtype, (pl.Categorical, pl.Enum)):
            values = values.cast(pl.String)
        if is_json(values.dtype) and self.value.model_fields_set - {"expr"}:
            values = as_text(values)
        if self.value.lookup is not None:
            values = self._look_up(values, failures)
        if self.has_default and self.value.default is not None:
            values = self._fill(values)
        if self.value.as_ is not None and not (self.kind == "time" and self.value.as_ == "datetime"):
            values = self._convert(values, self.value.as_, failures)
        if self.value.hash is not None:
            values = _sha256(as_text(values))
        if self.kind == "time":
            return self._time(values, failures), failures
        if self.kind == "text":
            return as_text(values), failures
        if isinstance(values.dtype, pl.Datetime) and self.value.as_ is None:
            values = self._time(values, failures)
        if values.dtype.is_decimal() and self.divides:
            return _trimmed(values), failures
        finite = jsontext.finite(pl.col("value"), values.dtype)
        if finite is not None:
            infinite = ~values.alias("value").to_frame().select(finite).to_series()
            if infinite.any():
                shown = values.cast(pl.String) if values.dtype.is_float() else None
                what = "holds NaN or infinity" if shown is None else "is {value}; expected a finite number"
                failures.append(Failure(infinite, "not_finite", f"{self.name} {what}", shown))
        return values, failures

    def _look_up(self, values: pl.Series, failures: list[Failure]) -> pl.Series:
        table = self.value.lookup or {}
        dtype = lookup_type(self.value)
        new = [_plain_text(v) if dtype == pl.String else v for v in table.values()]
        text = as_text(values)
        keys = pl.Series(list(table), dtype=pl.String)
        found = text.replace_strict(keys, pl.Series(new, dtype=dtype), default=None, return_dtype=dtype)
        if not self.has_default:
            unknown = text.is_not_null() & ~text.is_in(keys.implode())
            if unknown.any():
                message = f"{self.name}: '{{value}}' is not in the lookup table, and there is no default"
                failures.append(Failure(unknown, "not_in_lookup", message, text))
        return found

    def _fill(self, values: pl.Series) -> pl.Series:
        default = self.value.default
        if self.value.as_ == "text" and values.dtype != pl.String:
            values = as_text(values)
        if values.dtype == pl.Null:
            values = values.cast(literal_type(default))
        if values.dtype == pl.String:
            default = _plain_text(default)
        literal = pl.lit(default if not values.dtype.is_decimal() else str(default)).cast(values.dtype)
        return values.alias("value").to_frame().select(pl.col("value").fill_null(literal)).to_series()

    def _convert(self, values: pl.Series, kind: ColumnType, failures: list[Failure]) -> pl.Series:
        if kind == "decimal":
            return self._decimal(values, failures)
        result = convert.convert(values, kind, timezone=self.timezone, unit=self.value.unit, format=self.value.format)
        self._failed(result, values, failures)
        return result.values

    def _decimal(self, values: pl.Series, failures: list[Failure]) -> pl.Series:
        if values.dtype.is_decimal() or values.dtype.is_integer():
            return values
        text = as_text(values)
        plain = text.str.strip_chars()
        good = plain.str.contains(_DECIMAL)
        bad = text.is_not_null() & ~good
        if bad.any():
            message = f"{self.name}: '{{value}}' is not {convert.WANTED['decimal']}"
            failures.append(Failure(bad, "bad_type", message, text))
        digits = (
            plain.str.strip_prefix("+")
            .str.replace(r"^(-?)0+([0-9])", "${1}${2}")
            .str.replace(r"^(-?)\.", "${1}0.")
            .str.strip_suffix(".")
        )
        return digits.to_frame("d").select(pl.when(good).then(pl.col("d"))).to_series().ext.to(DIGITS)

    def _time(self, values: pl.Series, failures: list[Failure]) -> pl.Series:
        result = convert.to_time(values, timezone=self.timezone, unit=self.value.unit, format=self.value.format)
        self._failed(result, values, failures)
        return result.values

    def _failed(self, result: convert.Converted, values: pl.Series, failures: list[Failure]) -> None:
        if not result.failed:
            return
        kind = self.value.as_ or "datetime"
        wanted = convert.WANTED[kind]
        if kind in ("datetime", "date") and self.value.format is not None:
            wanted = f"a time in the format {self.value.format}"
        elif kind == "datetime" and self.value.unit is not None:
            wanted = f"a time in {self.value.unit} since 1970, in the years 1 to 9999"
            if self.value.unit in _FINER:
                name, unit = _FINER[self.value.unit]
                wanted += f"; {name} are read with `unit: {unit}`"
        messages = {
            "time_skipped": f"{self.name}: the clocks of {self.timezone} skip '{{value}}'",
            "time_repeated": f"{self.name}: the clocks of {self.timezone} show '{{value}}' twice; "
            "only an offset tells which",
        }
        shown = as_text(values)
        for reason in sorted(result.failures.drop_nulls().unique()):
            message = messages.get(reason, f"{self.name}: '{{value}}' is not {wanted}")
            failures.append(Failure((result.failures == reason).fill_null(False), reason, message, shown))


def _trimmed(values: pl.Series) -> pl.Series:
    """Decimals without zeros at their end: a division has as many decimals as polars gives it, and they say nothing."""
    text = values.cast(pl.String)
    pointed = text.str.contains(".", literal=True)
    trimmed = text.str.strip_chars_end("0").str.strip_suffix(".")
    return pl.select(pl.when(pointed).then(trimmed).otherwise(text)).to_series().ext.to(DIGITS)


def _sha256(text: pl.Series) -> pl.Series:
    # Imported here: its library of 30 MB is for those who use it.
    import polars_hash  # noqa: F401, PLC0415 - registers the namespace `chash`

    return text.alias("text").to_frame().select(pl.col("text").chash.sha2_256()).to_series()  # type: ignore[attr-defined]


def texts(values: pl.Series) -> pl.Series:
    """A column of lists as lists of texts, without null members."""
    inner = pl.element().cast(pl.String).drop_nulls()
    return values.alias("value").to_frame().select(pl.col("value").list.eval(inner)).to_series()


def describe(sql: str | None) -> str:
    """A value's SQL for a message: `user (CustomerID) is null`."""
    plain = " ".join((sql or "").split())
    shown = plain if len(plain) <= 80 else plain[:79] + "…"
    return f" ({re.sub(r'[{}]', '', shown)})" if shown else ""
