"""Conversions of a column to one of the types of the mapping file (`types:` of a source, `as:` of a value).

A value that cannot be converted becomes null and is named in the failures; nothing is guessed, rounded or cut.
Times become `Datetime('us', 'UTC')`, so that a resend prints the same digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

import polars as pl

from loader.errors import LoaderError
from loader.jsontype import fields, inner_type
from loader.settings import ColumnType, TimeUnit

UTC_TIME = pl.Datetime("us", "UTC")

_INTEGER = r"^[+-]?[0-9]+$"
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_DECIMAL = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)$"
_TRUE = ["true", "t", "yes", "y", "1"]
_FALSE = ["false", "f", "no", "n", "0"]
# A date, or a date and a time, or these with a zone: the forms of ISO 8601 that databases and files really contain.
_ISO = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:(?P<sep>[T ])[0-9]{2}:[0-9]{2}(?P<sec>:[0-5][0-9](?P<frac>[.,][0-9]{1,9})?)?"
    r"(?P<gap> ?)(?P<zone>Z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)?)?$"
)
_ISO_TEXT = re.compile(_ISO)
# Years 1 to 9999, in days since 1970: outside them no format can print the time, and polars may panic.
_FIRST_DAY, _LAST_DAY = (day.toordinal() - date(1970, 1, 1).toordinal() for day in (date.min, date.max))
_PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000}
_PER_SECOND: dict[str, int] = {"s": 1, "ms": 1_000, "us": 1_000_000}

WANTED: dict[str, str] = {
    "integer": "a whole number of at most 64 bits",
    "number": "a finite number",
    "decimal": "a decimal number such as 12.10",
    "boolean": "true or false (or yes/no, t/f, y/n, 1/0)",
    "datetime": "a time in ISO 8601, such as 2026-03-01T12:30:00Z",
    "date": "a date in ISO 8601, such as 2026-03-01",
    "text": "text",
}


class TimeWithoutZone(LoaderError):
    """A time carries no zone and the mapping names none, so its moment is not known."""

    def __init__(self, value: str) -> None:
        self.value = value
        super().__init__(f"the time '{value}' has no zone; name its zone with `timezone:`, such as Europe/Paris or UTC")


@dataclass(frozen=True)
class Converted:
    """`values`: the converted column, null where it failed. `failures`: codes of `rejection.REASONS`, else null."""

    values: pl.Series
    failures: pl.Series

    @property
    def failed(self) -> bool:
        """Whether at least one value could not be converted."""
        return self.failures.null_count() < len(self.failures)


def convert(
    values: pl.Series,
    kind: ColumnType,
    *,
    timezone: str | None = None,
    unit: TimeUnit | None = None,
    format: str | None = None,
) -> Converted:
    """Convert `values` (any type but binary and nested) to `kind`.

    `timezone` (IANA name) is the zone of times that carry none; `unit` reads numbers as times since 1970;
    `format` is a strftime format of text. Raises `TimeWithoutZone` for a time without a zone where `timezone` is None,
    and `LoaderError` where no value of this type can ever be of `kind`.
    """
    if values.dtype == pl.Null:
        values = values.cast(pl.String)
    if kind == "datetime":
        return to_time(values, timezone=timezone, unit=unit, format=format)
    if kind == "date":
        return _to_date(values, format)
    if kind == "text":
        return _done(values, to_text(values))
    if values.dtype.is_temporal() or values.dtype.is_nested() or values.dtype == pl.Binary:
        raise LoaderError(f"a value of type {values.dtype} cannot become {kind}")
    return _done(values, _SCALARS[kind](values))


def _done(before: pl.Series, after: pl.Series, reason: str = "bad_type") -> Converted:
    # Null stays null, so as many nulls as before are the same ones.
    if after.null_count() == before.null_count():
        return Converted(after, pl.Series([None], dtype=pl.String).new_from_index(0, len(after)))
    failed = before.is_not_null() & after.is_null()
    reasons = pl.select(pl.when(failed).then(pl.lit(reason)).otherwise(None)).to_series()
    return Converted(after, reasons)


def _matching(text: pl.Series, pattern: str) -> pl.Series:
    """`text` without surrounding blanks, null where it does not match `pattern`."""
    stripped = text.str.strip_chars()
    return pl.select(pl.when(stripped.str.contains(pattern)).then(stripped).otherwise(None)).to_series()


def _to_integer(values: pl.Series) -> pl.Series:
    if values.dtype == pl.String:
        return _matching(values, _INTEGER).cast(pl.Int64, strict=False)
    if values.dtype.is_integer():
        return values
    if values.dtype.is_float() or values.dtype.is_decimal():
        whole = values.cast(pl.Int64, strict=False)
        same = whole.cast(values.dtype, strict=False) == values
        return pl.select(pl.when(same).then(whole).otherwise(None)).to_series()
    return values.cast(pl.Int64, strict=False)


def _to_number(values: pl.Series) -> pl.Series:
    if values.dtype == pl.String:
        values = _matching(values, _NUMBER)
    number = values.cast(pl.Float64, strict=False)
    return pl.select(pl.when(number.is_finite()).then(number).otherwise(None)).to_series()


# Digits after the point of a decimal column, which has 38 in all: one value with more must not leave the others without
# room before the point.
MAX_SCALE = 18


def _to_decimal(values: pl.Series) -> pl.Series:
    if values.dtype.is_decimal():
        return values
    if values.dtype.is_integer():
        return values.cast(pl.Decimal(38, 0), strict=False)
    text = _matching(to_text(values), _DECIMAL)
    digits = text.str.extract(r"\.([0-9]*?)0*$", 1).str.len_bytes()
    most = digits.max()
    # Polars would round those that have more.
    exact = pl.select(pl.when(digits.fill_null(0) <= MAX_SCALE).then(text)).to_series()
    return exact.cast(pl.Decimal(38, min(most, MAX_SCALE) if isinstance(most, int) else 0), strict=False)


def _to_boolean(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Boolean:
        return values
    text = to_text(values).str.strip_chars().str.to_lowercase()
    return pl.select(
        pl.when(text.is_in(_TRUE)).then(True).when(text.is_in(_FALSE)).then(False).otherwise(None)
    ).to_series()


_SCALARS = {"integer": _to_integer, "number": _to_number, "decimal": _to_decimal, "boolean": _to_boolean}


def to_text(values: pl.Series) -> pl.Series:
    """`values` as text: digits as they are, times in ISO 8601 (UTC with `Z` where they carry a zone)."""
    dtype = values.dtype
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is not None:
            return values.dt.convert_time_zone("UTC").dt.to_string("%Y-%m-%dT%H:%M:%S%.fZ")
        return values.dt.to_string("%Y-%m-%dT%H:%M:%S%.f")
    return values.cast(pl.String)


def outside_years(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    """Boolean: a time outside the years 1 to 9999 anywhere in the value (null holds none); None where the type cannot
    hold one."""
    if isinstance(dtype, (pl.Date, pl.Datetime)):
        if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
            return None
        start, end = _years(dtype)
        inside = expr.to_physical().is_between(start, end, closed="left")
        return (~inside).fill_null(False)
    if isinstance(dtype, (pl.List, pl.Array)):
        inner = outside_years(pl.element(), inner_type(dtype.inner))
        lists = expr if isinstance(dtype, pl.List) else expr.arr.to_list()
        return None if inner is None else lists.list.eval(inner).list.any().fill_null(False)
    if isinstance(dtype, pl.Struct):
        members = zip(fields(expr, dtype), dtype.fields, strict=True)
        found = [outside_years(given, inner_type(f.dtype)) for given, f in members]
        present = [one for one in found if one is not None]
        return pl.any_horizontal(present) if present else None
    return None


def _years(dtype: pl.Date | pl.Datetime) -> tuple[int, int]:
    """The physical values of `dtype` where the years 1 to 9999 begin and end."""
    day = _PER_DAY[dtype.time_unit] if isinstance(dtype, pl.Datetime) else 1
    return _FIRST_DAY * day, (_LAST_DAY + 1) * day


def without_wild_times(values: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """`values` with null for each that `outside_years` finds, and which they are (Boolean); None: there is none."""
    outside = outside_years(pl.col("value"), values.dtype)
    if outside is None:
        return values, None
    if isinstance(values.dtype, (pl.Date, pl.Datetime)):
        physical = values.to_physical()
        first, last = physical.min(), physical.max()
        start, end = _years(values.dtype)
        if not isinstance(first, int) or not isinstance(last, int) or start <= first <= last < end:
            return values, None
    frame = values.alias("value").to_frame()
    wild = frame.select(outside).to_series()
    if not wild.any():
        return values, None
    return frame.select(pl.when(~wild).then(pl.col("value"))).to_series().alias(values.name), wild


def to_time(
    values: pl.Series, *, timezone: str | None = None, unit: TimeUnit | None = None, format: str | None = None
) -> Converted:
    """`values` as `Datetime('us', 'UTC')`; see `convert`. Failures are `bad_time`, `time_skipped`, `time_repeated`."""
    found = _to_time(values, timezone, unit, format)
    inside, wild = without_wild_times(found.values)
    if wild is None:
        return found
    failures = pl.select(pl.when(wild).then(pl.lit("bad_time")).otherwise(found.failures)).to_series()
    return Converted(inside, failures)


def _to_time(values: pl.Series, timezone: str | None, unit: TimeUnit | None, format: str | None) -> Converted:
    dtype = values.dtype
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is not None:
            return _done(values, values.dt.convert_time_zone("UTC").dt.cast_time_unit("us"))
        return _localize(values, values.dt.cast_time_unit("us"), timezone)
    if dtype == pl.Date:
        return _localize(values, values.cast(pl.Datetime("us")), timezone)
    if dtype.is_numeric():
        if unit is None:
            raise LoaderError("a number is a time only with its `unit` (s, ms or us since 1970)")
        return _from_number(values, unit)
    if dtype != pl.String:
        raise LoaderError(f"a value of type {dtype} cannot become a time")
    if unit is not None:
        return _from_number(_to_decimal(values), unit, values)
    if format is not None:
        parsed = _strptime(values, format)
        aware, naive = (
            (parsed, None) if isinstance(parsed.dtype, pl.Datetime) and parsed.dtype.time_zone else (None, parsed)
        )
    else:
        aware, naive = _parse_iso(values)
    if naive is None or naive.null_count() == len(naive):
        return _done(
            values, pl.Series(values.name, [None] * len(values), UTC_TIME) if aware is None else aware, "bad_time"
        )
    unplaced = values if aware is None else pl.select(pl.when(aware.is_null()).then(values)).to_series()
    local = _localize(unplaced, naive, timezone)
    if aware is None:
        return local
    return Converted(aware.fill_null(local.values), local.failures)


def _localize(values: pl.Series, naive: pl.Series, timezone: str | None) -> Converted:
    """Place times without a zone in `timezone`; those that the zone skips or repeats fail."""
    if timezone is None:
        if naive.null_count() < len(naive):
            raise TimeWithoutZone(str(to_text(values.filter(naive.is_not_null()))[0]))
        return _done(values, naive.dt.replace_time_zone("UTC"), "bad_time")
    placed = naive.dt.replace_time_zone(timezone, ambiguous="null", non_existent="null")
    failures = _done(values, naive, "bad_time").failures
    if placed.null_count() > naive.null_count():
        lost = naive.is_not_null() & placed.is_null()
        repeated = naive.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null").is_not_null()
        failures = pl.select(
            pl.when(lost & repeated)
            .then(pl.lit("time_repeated"))
            .when(lost)
            .then(pl.lit("time_skipped"))
            .otherwise(failures)
        ).to_series()
    return Converted(placed.dt.convert_time_zone("UTC"), failures)


def _from_number(values: pl.Series, unit: TimeUnit, before: pl.Series | None = None) -> Converted:
    factor = 1_000_000 // _PER_SECOND[unit]
    if values.dtype.is_float():
        micros = (values * factor).round().cast(pl.Int64, strict=False)
    elif values.dtype.is_decimal():
        micros = (
            pl.select(values.cast(pl.Decimal(38, 6), strict=False) * factor).to_series().cast(pl.Int64, strict=False)
        )
    else:
        micros = pl.select(values.cast(pl.Int128) * pl.lit(factor, pl.Int128)).to_series().cast(pl.Int64, strict=False)
    return _done(values if before is None else before, micros.cast(UTC_TIME), "bad_time")


def _strptime(values: pl.Series, format: str) -> pl.Series:
    """Times of `values` by `format`, in microseconds; null where a value does not fit it."""
    try:
        return values.str.strptime(pl.Datetime("us"), format, strict=False)
    except pl.exceptions.PolarsError as error:
        raise LoaderError(f"the format '{format}' cannot be used: {error}") from None


def _parse_iso(values: pl.Series) -> tuple[pl.Series | None, pl.Series | None]:
    """Times of ISO 8601 texts: those with a zone (UTC), and those without one; null where a text is not a time.

    One file rarely mixes forms, and a fixed format parses several times faster than a guessed one: the
    first text that is left names the format for all texts of its form and width.
    """
    aware: pl.Series | None = None
    naive: pl.Series | None = None
    rest, screened = values, False
    while rest.null_count() < len(rest):
        sample = str(rest.drop_nulls()[0])
        match = _ISO_TEXT.fullmatch(sample)
        if match is None:
            if screened:  # pragma: no cover - both patterns accept the same texts
                raise AssertionError(sample)
            rest, screened = _matching(rest, _ISO), True
            continue
        text = rest
        lengths = rest.str.len_bytes()
        if match["frac"] is None and lengths.min() != lengths.max():
            text = pl.select(pl.when(lengths == len(sample)).then(rest)).to_series()
        parsed = _parse_form(text, match)
        if match["zone"]:
            aware = parsed if aware is None else aware.fill_null(parsed)
        else:
            naive = parsed if naive is None else naive.fill_null(parsed)
        if parsed.null_count() == rest.null_count():
            break
        rest = pl.select(pl.when(parsed.is_null()).then(rest)).to_series()
        if rest.null_count() < len(rest) and rest.drop_nulls()[0] == sample:
            # A day that does not exist: leave out all texts of this form, so that the loop ends.
            form = rest.str.replace_all(r"[0-9]", "0") == re.sub(r"[0-9]", "0", sample)
            rest = pl.select(pl.when(~form).then(rest)).to_series()
    return aware, naive


def _parse_form(text: pl.Series, form: re.Match[str]) -> pl.Series:
    """Times of the texts that have the form of a matched sample; with a zone in UTC, else naive; null elsewhere."""
    if form["sep"] is None:
        return text.str.to_date("%Y-%m-%d", strict=False, cache=False).cast(pl.Datetime("us"))
    if form["frac"] and form["frac"].startswith(","):
        text = text.str.replace(",", ".", literal=True)
    seconds = "" if form["sec"] is None else ":%S" + ("%.f" if form["frac"] else "")
    pattern = f"%Y-%m-%d{form['sep']}%H:%M{seconds}"
    zone = form["zone"]
    if zone is None or zone in ("Z", "UTC"):
        pattern += "" if zone is None else form["gap"] + zone
        # What polars parses faster than it finds it among those parsed before.
        times = text.str.to_datetime(pattern, time_unit="us", time_zone=None, strict=False, cache=bool(form["frac"]))
        times = times if zone is None else times.dt.replace_time_zone("UTC")
    else:
        text = text.str.replace(r" ([+-])", "${1}")
        times = text.str.to_datetime(pattern + "%#z", time_unit="us", time_zone="UTC", strict=False)
    return times if form["sec"] is None else _without_second_60(text, times)


def _without_second_60(text: pl.Series, times: pl.Series) -> pl.Series:
    """`times` of `text`, null for second 60: polars takes it for the first of the next minute, another time."""
    first = times.to_physical() % 60_000_000 < 1_000_000
    if not text.filter(first).str.contains(":60", literal=True).any():
        return times
    return pl.select(pl.when(~text.str.contains(":60", literal=True)).then(times)).to_series()


def _to_date(values: pl.Series, format: str | None) -> Converted:
    if values.dtype == pl.Date:
        return _done(values, values)
    if isinstance(values.dtype, pl.Datetime):
        return _done(values, values.dt.date())
    if values.dtype != pl.String:
        raise LoaderError(f"a value of type {values.dtype} cannot become a date")
    if format is not None:
        days = values.str.to_date(format, strict=False)
    else:
        days = _matching(values, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$").str.to_date("%Y-%m-%d", strict=False)
    return _done(values, without_wild_times(days)[0], "bad_time")
