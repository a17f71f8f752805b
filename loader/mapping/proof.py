"""What is proven of the columns of a source when all its rows were seen, for a mapping that is to be written.

A type counts only if every value has it: one that fits the first thousand rows is a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import polars as pl

from loader import convert
from loader.jsontype import Digits, inner_type, is_json
from loader.settings import TimeUnit

# `never`: of a type that no provider can be sent. `json`: JSON of any kind. `digits`: a JSON number.
Kind = Literal["text", "integer", "decimal", "number", "boolean", "datetime", "date", "list", "json", "digits", "never"]

# No plus, no zero in front, at most 18 digits: what a number would lose is no number.
_INTEGER = r"^(?:0|-?[1-9][0-9]{0,17})$"
_DECIMAL = r"^-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?$"
_BOOLEANS = ["true", "false", "True", "False", "TRUE", "FALSE"]
# Seconds since 1970 of the years 1990 and 2100.
_EPOCH = (631_152_000, 4_102_444_800)
_UNITS: dict[TimeUnit, int] = {"s": 1, "ms": 1_000, "us": 1_000_000}
# More values than these are no list of choices.
_MOST_CHOICES = 12
# Where so many of a hundred values are times, the others are mistakes.
_NEARLY_ALL = 90

_IDS = {"id", "ids", "no", "nr", "num", "number", "key", "uuid", "guid", "ref", "reference", "code"}
_THINGS = {"u", "user", "customer", "client", "member", "contact", "subscriber", "profile", "order", "event", "session"}
_TEXTS = {"zip", "postcode", "postal", "plz", "phone", "mobile", "tel", "fax", "iban", "sku", "ean", "isbn", "version"}
_MOMENTS = {"at", "time", "timestamp", "datetime", "ts", "when", "date", "epoch", "created", "occurred", "day"}


def words_of(*names: str) -> list[str]:
    """The words of names in small letters: `CustomerID` and `customer_id` are `customer` and `id`."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", "_".join(names))
    return [word for word in re.split(r"[\W_]+", apart.lower()) if word]


def names_an_id(words: list[str]) -> bool:
    """Whether a column of these words holds the identity of something."""
    return bool(words) and (words[-1] in _IDS or words[-1].removesuffix("id") in _THINGS)


def names_a_time(words: list[str]) -> bool:
    """Whether a column of these words holds times."""
    moment = bool(_MOMENTS & set(words)) or (len(words) > 1 and words[-1] == "on")
    return moment and not {"id", "zone", "timezone", "birth", "birthday"} & set(words)


@dataclass(frozen=True)
class Column:
    """A column, or a member of a nested one (`path`: names from the outside in), as all rows have it.

    `convert`: its type is proven of texts, so the mapping has to convert them. `unit`: the integers or decimals are
    times. `naive`: times without a zone are among them. `misfits`: how many values are no times though nearly all
    are, and the first such value. `choices`: all values, where they are few. `whole`: all are texts such as 17850.0.
    """

    path: tuple[str, ...]
    kind: Kind
    values: int = 0
    nulls: int = 0
    convert: bool = False
    unit: TimeUnit | None = None
    naive: bool = False
    misfits: int = 0
    misfit: str | None = None
    unique: bool = False
    first: datetime | None = None
    last: datetime | None = None
    lowest: float | None = None
    longest: int = 0
    examples: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    whole: bool = False
    at_sign: bool = False

    @property
    def words(self) -> list[str]:
        """The words of its name."""
        return words_of(*self.path)

    @property
    def timely(self) -> bool:
        """Whether its values are times."""
        return self.kind in ("datetime", "date") or self.unit is not None


def leaves(columns: Mapping[str, pl.DataType]) -> Iterator[tuple[tuple[str, ...], pl.DataType]]:
    """The columns, and instead of those with objects the members of these, however deep."""
    for name, dtype in columns.items():
        if isinstance(dtype, pl.Struct) and dtype.fields:
            members = {field.name: inner_type(field.dtype) for field in dtype.fields}
            yield from (((name, *path), member) for path, member in leaves(members))
        else:
            yield (name,), dtype


class Proof:
    """Takes in the values of one column, frame by frame.

    `numbers`: the source knows texts alone, so that its numbers and booleans are texts too.
    """

    def __init__(self, path: tuple[str, ...], dtype: pl.DataType, *, numbers: bool) -> None:
        self.path, self._dtype = path, dtype
        self._words = words_of(*path)
        self._may_be = {"integer", "decimal", "boolean"} if numbers and not self._textual() else set()
        self._may_be_time, self._may_be_date, self._may_be_whole = True, True, True
        self._values = self._nulls = self._misfits = self._longest = 0
        self._misfit: str | None = None
        self._naive = self._pointed = self._at_sign = False
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._low: float | None = None
        self._high: float | None = None
        self._examples: list[str] = []
        self._choices: dict[str, None] | None = {}
        # Only what may be an identity is remembered: 8 bytes a value, until one repeats.
        self._hashes: list[pl.Series] | None = [] if names_an_id(self._words) else None

    def _textual(self) -> bool:
        return (names_an_id(self._words) or bool(_TEXTS & set(self._words))) and not names_a_time(self._words)

    def see(self, rows: pl.DataFrame) -> None:
        """Take in the rows of a frame."""
        values = rows.get_column(self.path[0])
        for member in self.path[1:]:
            values = values.struct.unnest().get_column(member)
        values = values.alias("").drop_nulls()
        self._values += len(values)
        self._nulls += rows.height - len(values)
        if not len(values) or values.dtype.is_nested():
            return
        if is_json(values.dtype):
            values = values.ext.storage()
        if values.dtype == pl.Binary:
            return
        self._hash(values)
        if self._choices is not None:
            self._choose(values)
        if values.dtype == pl.String:
            self._see_texts(values)
        elif isinstance(values.dtype, (pl.Datetime, pl.Date)):
            self._see_times(values)
        elif values.dtype.is_numeric():
            self._span(values)

    def _hash(self, values: pl.Series) -> None:
        if self._hashes is None:
            return
        hashes = values.hash()
        if hashes.n_unique() < len(hashes):
            self._hashes = None
        else:
            self._hashes.append(hashes)

    def _choose(self, values: pl.Series) -> None:
        if values.dtype.is_float():
            values = values.drop_nans()
        found = convert.to_text(values.unique(maintain_order=True).head(_MOST_CHOICES + 1)).drop_nulls().to_list()
        self._examples += [text for text in found if text not in self._examples][: 3 - len(self._examples)]
        if self._choices is not None:
            self._choices |= dict.fromkeys(found)
            if len(self._choices) > _MOST_CHOICES:
                self._choices = None

    def _span(self, numbers: pl.Series) -> None:
        found = numbers.cast(pl.Float64, strict=False)
        low, high = found.min(), found.max()
        if isinstance(low, float) and isinstance(high, float):
            self._low = low if self._low is None else min(self._low, low)
            self._high = high if self._high is None else max(self._high, high)

    def _see_texts(self, texts: pl.Series) -> None:
        longest = texts.str.len_chars().max()
        self._longest = max(self._longest, longest if isinstance(longest, int) else 0)
        self._at_sign = self._at_sign or "@" in str(texts[0])
        self._may_be_whole = self._may_be_whole and texts.str.contains(r"^[0-9]+\.0$").all()
        if "boolean" in self._may_be and not texts.is_in(_BOOLEANS).all():
            self._may_be.discard("boolean")
        if "integer" in self._may_be and not texts.str.contains(_INTEGER).all():
            self._may_be.discard("integer")
        if "decimal" in self._may_be:
            if texts.str.contains(_DECIMAL).all():
                self._pointed = self._pointed or bool(texts.str.contains(".", literal=True).any())
                self._span(texts)
            else:
                self._may_be.discard("decimal")
        if self._may_be_time:
            self._see_iso(texts)

    def _see_iso(self, texts: pl.Series) -> None:
        if not self._naive:
            try:
                times = convert.to_time(texts)
            except convert.TimeWithoutZone:
                self._naive = True
        if self._naive:
            times = convert.to_time(texts, timezone="UTC")
        lost = times.values.is_null()
        if lost.any():
            self._misfits += int(lost.sum() or 0)
            if self._misfit is None:
                self._misfit = str(texts.filter(lost)[0])
            # A column that is no time by its name either need not be looked at again.
            self._may_be_time = names_a_time(self._words)
        self._may_be_date = self._may_be_date and bool((texts.str.len_bytes() == 10).all())
        self._range(times.values)

    def _see_times(self, times: pl.Series) -> None:
        if isinstance(times.dtype, pl.Date):
            self._range(times.cast(pl.Datetime("us", "UTC")))
        else:
            self._naive = isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is None
            self._range(convert.to_time(times, timezone="UTC").values)

    def _range(self, times: pl.Series) -> None:
        first, last = times.min(), times.max()
        if isinstance(first, datetime) and isinstance(last, datetime):
            self._first = first if self._first is None else min(self._first, first)
            self._last = last if self._last is None else max(self._last, last)

    def column(self) -> Column:
        """What is proven."""
        kind, converts = self._kind()
        # Dates without a time of day have no zone that could be forgotten, until they become moments.
        naive = self._naive or kind == "date"
        unit = self._unit(kind)
        first, last = (self._first, self._last) if kind in ("datetime", "date") else (None, None)
        if unit is not None and self._low is not None and self._high is not None:
            first, last = (datetime.fromtimestamp(end / _UNITS[unit], UTC) for end in (self._low, self._high))
        return Column(
            self.path,
            kind,
            self._values,
            self._nulls,
            converts,
            unit,
            naive if kind in ("datetime", "date") else False,
            self._misfits if kind == "datetime" else 0,
            self._misfit,
            self._is_unique(),
            first,
            last,
            self._low,
            self._longest,
            tuple(self._examples),
            self._few(),
            self._may_be_whole and self._values > 0 and self._dtype == pl.String,
            self._at_sign,
        )

    def _kind(self) -> tuple[Kind, bool]:
        dtype = self._dtype
        if isinstance(dtype, (pl.Categorical, pl.Enum)) or dtype == pl.Null:
            return "text", False
        if dtype == pl.String:
            return self._kind_of_texts()
        if is_json(dtype):
            return ("digits" if isinstance(dtype, Digits) else "json"), False
        if isinstance(dtype, pl.Datetime):
            return "datetime", False
        if dtype.is_nested():
            return ("never" if _unsendable(dtype) else "list"), False
        plain: list[tuple[bool, Kind]] = [
            (dtype == pl.Date, "date"),
            (dtype == pl.Time, "text"),
            (dtype == pl.Boolean, "boolean"),
            (dtype.is_integer(), "integer"),
            (dtype.is_decimal(), "decimal"),
            (dtype.is_float(), "number"),
        ]
        return next((kind for fits, kind in plain if fits), "never"), False

    def _kind_of_texts(self) -> tuple[Kind, bool]:
        if not self._values:
            return "text", False
        numbers: tuple[Kind, ...] = ("boolean", "integer", "decimal")
        for kind in numbers:
            if kind in self._may_be and (kind != "decimal" or self._pointed):
                return kind, True
        if self._may_be_time and self._misfits * 100 <= self._values * (100 - _NEARLY_ALL):
            return ("date" if self._may_be_date and not self._misfits else "datetime"), True
        return "text", False

    def _unit(self, kind: Kind) -> TimeUnit | None:
        if kind not in ("integer", "decimal", "number") or not names_a_time(self._words):
            return None
        if self._low is None or self._high is None:
            return None
        for unit, factor in _UNITS.items():
            if _EPOCH[0] * factor <= self._low and self._high <= _EPOCH[1] * factor:
                return unit
        return None

    def _is_unique(self) -> bool:
        if self._hashes is None or self._nulls or not self._values:
            return False
        return pl.concat(self._hashes).n_unique() == self._values

    def _few(self) -> tuple[str, ...]:
        """The values, where each of them stands in many rows."""
        if self._choices is None or len(self._choices) * 10 > self._values:
            return ()
        return tuple(self._choices)


def _unsendable(dtype: pl.DataType) -> bool:
    """Whether a nested type has something inside that no provider can be sent, or a time without a zone."""
    if isinstance(dtype, (pl.List, pl.Array)):
        return _unsendable(inner_type(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return any(_unsendable(inner_type(field.dtype)) for field in dtype.fields)
    if isinstance(dtype, pl.Datetime):
        return dtype.time_zone is None
    return isinstance(dtype, (pl.Binary, pl.Duration, pl.Object))
