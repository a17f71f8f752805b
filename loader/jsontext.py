"""JSON text from polars columns: compact, UTF-8, the same bytes for the same values, no Python object per row.

Polars' own `struct.json_encode` is the fastest way and escapes text rightly, but it writes null members, turns NaN into
null and decimals into text. So members that stand together and are all `Native` are encoded at once, and lose the null
ones afterwards; any other member is written by itself, and they are joined here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

import polars as pl

from loader.jsontype import fields, inner_type, is_json

TimeText = Callable[[pl.Expr], pl.Expr]


@dataclass(frozen=True)
class Native:
    """A value, not yet encoded, of a type that polars' encoder writes as this module does; null stands for no value.

    `always`: it is never null. `members`: those of an object that was made of them.
    """

    expr: pl.Expr
    dtype: pl.DataType
    always: bool = False
    members: Mapping[str, Native] | None = None


# A member of an object: a value that polars may encode, or JSON text.
Member = Native | pl.Expr
# Those of an object with their keys, in order.
Members = Sequence[tuple[str, Member]]


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
    if _is_native(dtype):
        return pl.when(expr.is_not_null()).then(_encoded(expr, dtype))
    if isinstance(dtype, pl.List):
        element = value(pl.element(), inner_type(dtype.inner), time)
        return pl.concat_str(pl.lit("["), expr.list.eval(element.fill_null("null")).list.join(","), pl.lit("]"))
    if isinstance(dtype, pl.Array):
        return value(expr.arr.to_list(), pl.List(dtype.inner), time)
    if isinstance(dtype, pl.Struct):
        found = zip(fields(expr, dtype), dtype.fields, strict=True)
        members = [(f.name, value(given, inner_type(f.dtype), time)) for given, f in found]
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


def to_the_second(times: pl.Series) -> pl.Series:
    """`YYYY-MM-DDTHH:MM:SS` of times in UTC, `Datetime('us')`; what is below a second is cut off."""
    seconds = times.dt.timestamp("us") // 1_000_000
    days = seconds // _SECONDS_A_DAY
    first, last = days.min(), days.max()
    if not isinstance(first, int) or not isinstance(last, int) or last - first > len(times):
        return times.dt.replace_time_zone(None).dt.to_string("%Y-%m-%dT%H:%M:%S")
    # Each day and each second of a day is written once: twice as fast as each time.
    dates = pl.int_range(first, last + 1, dtype=pl.Int32, eager=True).cast(pl.Date).dt.to_string("%Y-%m-%dT")
    return dates.gather(days - first) + _clock().gather(seconds - days * _SECONDS_A_DAY)


_SECONDS_A_DAY = 86_400


@cache
def _clock() -> pl.Series:
    """`HH:MM:SS` of each second of a day."""
    nanoseconds = pl.int_range(_SECONDS_A_DAY, eager=True) * 1_000_000_000
    return nanoseconds.cast(pl.Time).dt.to_string("%H:%M:%S")


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


def whole_seconds(expr: pl.Expr) -> Member:
    """What `seconds` gives for times without a fraction, as a value that polars may encode."""
    return Native(expr.dt.timestamp("us") // 1_000_000, pl.Int64())


def member(expr: pl.Expr, dtype: pl.DataType, time: TimeText | None = None) -> Member:
    """A value of `dtype` as a member of `obj`; see `value`."""
    if _is_native(dtype):
        return Native(expr, dtype)
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        return Native(expr.cast(pl.String), pl.String())
    if isinstance(dtype, pl.Datetime) and (time is None or dtype.time_zone is None):
        return Native(iso(expr, dtype), pl.String())
    if isinstance(dtype, pl.Date):
        return Native(expr.dt.to_string("%Y-%m-%d"), pl.String())
    return value(expr, dtype, time)


def present(expr: pl.Expr) -> Member:
    """A text that is never null."""
    return Native(expr, pl.String(), always=True)


def nested(members: Members) -> Member:
    """An object as a member of another, `{}` where it has no member."""
    natives = _natives(members)
    if natives is None:
        return obj(members)
    return Native(_struct(natives), _struct_type(natives), always=True, members=natives)


def inner(members: Members) -> Member:
    """An object as a member of another, null where it has no member."""
    natives = _natives(members)
    if natives is None:
        written = obj(members)
        return pl.when(written != "{}").then(written)
    some = pl.any_horizontal(native.expr.is_not_null() for native in natives.values())
    return Native(pl.when(some).then(_struct(natives)), _struct_type(natives), members=natives)


def obj(members: Members, full: Collection[str] = ()) -> pl.Expr:
    """The JSON object of `(key, value)` members, without those that are null.

    `full`: columns without a null; the text is the same without knowing them, and takes longer. NaN and infinity must
    have been rejected (`finite`).
    """
    natives = _natives(members)
    if natives is not None:
        return _without_nulls(_struct(natives, full).struct.json_encode(), _objects_of(natives, full))
    if not members:
        return pl.lit("{}")
    parts = [part for _, together in groupby(members, key=_is_plain) for part in _members(together, full)]
    joined = pl.concat_str(*parts, ignore_nulls=True).str.strip_prefix(",")
    return pl.concat_str(pl.lit("{"), joined, pl.lit("}"))


def _is_plain(member: tuple[str, Member]) -> bool:
    key, given = member
    return isinstance(given, Native) and _PLAIN_KEY.fullmatch(key) is not None


def _members(together: Iterable[tuple[str, Member]], full: Collection[str]) -> list[pl.Expr]:
    """Members that stand together, each with a comma before it, null where there is none; what polars may encode is
    encoded at once."""
    members = list(together)
    natives = _natives(members)
    if natives is None or len(natives) == 1:
        return [pl.concat_str(pl.lit(f",{literal(key)}:"), _text_of(given)) for key, given in members]
    written = _without_nulls(_struct(natives, full).struct.json_encode(), _objects_of(natives, full))
    inside = written.str.strip_prefix("{").str.strip_suffix("}")
    return [pl.concat_str(pl.when(written != "{}").then(pl.lit(",")), inside, ignore_nulls=True)]


def _text_of(given: Member) -> pl.Expr:
    return value(given.expr, given.dtype) if isinstance(given, Native) else given


def _natives(members: Members) -> dict[str, Native] | None:
    """The members, if all may be left to polars' encoder."""
    found = {key: given for key, given in members if isinstance(given, Native) and _PLAIN_KEY.fullmatch(key)}
    return found if members and len(found) == len(members) else None


def _struct(natives: Mapping[str, Native], full: Collection[str] = ()) -> pl.Expr:
    return pl.struct([_expr(native, full).alias(key) for key, native in natives.items()])


def _expr(native: Native, full: Collection[str]) -> pl.Expr:
    # An object of which a member is there need not be looked at to know that it is.
    if native.members is not None and _is_there(native, full):
        return _struct(native.members, full)
    return native.expr


def _struct_type(natives: dict[str, Native]) -> pl.Struct:
    return pl.Struct({key: native.dtype for key, native in natives.items()})


def _is_native(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List):
        return _is_native(inner_type(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return bool(dtype.fields) and all(
            _PLAIN_KEY.fullmatch(f.name) is not None and _is_native(inner_type(f.dtype)) for f in dtype.fields
        )
    return dtype == pl.String or isinstance(dtype, pl.Boolean) or dtype.is_integer() or dtype.is_float()


def _encoded(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The JSON text of a value of a native type, `null` where it is null."""
    wrapped = pl.struct(expr.alias("x")).struct.json_encode().str.strip_prefix('{"x":').str.strip_suffix("}")
    return _without_nulls(wrapped, _objects(dtype))


# Keys of which `_without_nulls` is proven right.
_PLAIN_KEY = re.compile(r"\w[\w .()-]*")
# All of these keys, for polars: its `\w` is not Python's, which has `²`, too.
_ANY_PLAIN_KEY = r'[^"\\,:{}\[\]][^"\\]*'
# Up to so many keys are found by their names, in less than half of the time that any plain key takes; of more, in more.
_FEW_KEYS = 10

# An object: its keys, and whether their values may be null.
_Object = list[tuple[str, bool]]


def _without_nulls(written: pl.Expr, objects: Iterable[_Object]) -> pl.Expr:
    """Encoded values without the null members of their `objects`.

    Within a JSON string a quote stands behind a backslash. So the first quote of `,"key":null` and `{"key":null` opens
    a key, or closes a string; then a comma, colon or bracket would follow, with which no plain key begins.
    """
    first: dict[str, None] = {}
    later: dict[str, None] = {}
    for members in objects:
        for at, (key, nullable) in enumerate(members):
            if nullable:
                (later if at else first)[key] = None
    for keys, before, after in ((later, ",", ""), (first, "{", ",?")):
        if keys:
            names = "|".join(map(pl.escape_regex, keys)) if len(keys) <= _FEW_KEYS else _ANY_PLAIN_KEY
            kept = before.strip(",")
            written = written.str.replace_all(rf'{pl.escape_regex(before)}"(?:{names})":null{after}', kept)
    return written


def _objects_of(natives: Mapping[str, Native], full: Collection[str]) -> Iterator[_Object]:
    """The object that is made of `natives`, and those inside."""
    yield [(key, not _is_there(native, full)) for key, native in natives.items()]
    for native in natives.values():
        yield from _objects(native.dtype) if native.members is None else _objects_of(native.members, full)


def _is_there(native: Native, full: Collection[str]) -> bool:
    """Whether it is known never to be null."""
    if native.members is not None and not native.always:
        return any(_is_there(member, full) for member in native.members.values())
    return native.always or (native.expr.meta.is_column() and native.expr.meta.output_name() in full)


def _objects(dtype: pl.DataType) -> Iterator[_Object]:
    """The objects inside values of `dtype`."""
    if isinstance(dtype, pl.List):
        yield from _objects(inner_type(dtype.inner))
    if isinstance(dtype, pl.Struct):
        yield [(f.name, True) for f in dtype.fields]
        for f in dtype.fields:
            yield from _objects(inner_type(f.dtype))


def finite(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    """Boolean: no NaN and no infinity anywhere in the value (null is finite); None where the type cannot hold them."""
    if dtype.is_float():
        return expr.is_finite().fill_null(True)
    if isinstance(dtype, pl.List):
        inner = finite(pl.element(), inner_type(dtype.inner))
        return None if inner is None else expr.list.eval(inner).list.all().fill_null(True)
    if isinstance(dtype, pl.Array):
        return finite(expr.arr.to_list(), pl.List(dtype.inner))
    if isinstance(dtype, pl.Struct):
        found = zip(fields(expr, dtype), dtype.fields, strict=True)
        parts = [finite(given, inner_type(f.dtype)) for given, f in found]
        present = [part for part in parts if part is not None]
        return pl.all_horizontal(present) if present else None
    return None
