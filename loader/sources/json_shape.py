"""What JSON values are: read without losing a digit, and the polars type that all values of a column have.

A number is an `int` of 64 bits or a `float` where these print the same digits again, else `Digits`. A column gets a
polars type where all its values are of one kind; objects become structs, key by key. Numbers that have no such type
(with and without a point, `12.10`, integers over 64 bits) become `loader.jsontype.DIGITS`, their own text, and all else
(objects among lists, a member that is now a number and now a text) becomes `JSON`, the value's compact text, so that it
arrives as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import NoneType
from typing import Any

import orjson
import polars as pl

from loader.jsontype import DIGITS, JSON, fields, holds_json, inner_type, is_json

# A number that may not be printed as it was read: more digits than a float holds, an exponent, zeros at the end, or
# more than 64 bits. Strings may match as well: that costs time, nothing else. (A pattern for polars.)
_SUSPECT = r"[:,\[ \t]-?(?:[0-9][0-9.]{16}|0\.0000|[0-9]+(?:\.[0-9]+)?[eE]|[0-9]+\.[0-9]+0(?:[,}\] \t\r]|$))"

# What orjson reads, but does not write.
_TOO_DEEP = 254
_MAX_DEPTH = 20
_MAX_MEMBERS = 300
_MAX_FORMS = 10_000
_INT64 = range(-(2**63), 2**63)


# Row, line and file of a value.
Place = tuple[int, int, str]


class Digits(str):
    """A number as it stands in the file."""

    __slots__ = ()


_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Digits: "a number of many digits",
    str: "text",
    dict: "an object",
    list: "a list",
}
_NUMBERS = {int, float, Digits}


def _integer(token: str) -> int | Digits:
    # 20 digits are more than 64 bits hold, and Python refuses to read some thousands.
    value = int(token) if len(token) <= 20 else None
    return value if value is not None and value in _INT64 else Digits(token)


def _float(token: str) -> float | Digits:
    value = float(token)
    return value if repr(value) == token else Digits(token)


_EXACT = json.JSONDecoder(parse_int=_integer, parse_float=_float)


def objects(block: bytes) -> Iterator[tuple[int, dict[str, Any] | ValueError, bytes]]:
    """The lines of `block` that are not blank: offset of the line, the object in it or what is wrong, and its bytes."""
    lines = block.split(b"\n")
    suspects: set[int] | range
    try:
        texts = pl.Series([block.decode()]).str.split("\n").explode()
        suspects = set(texts.str.contains(_SUSPECT).arg_true())
    except UnicodeDecodeError:
        suspects = range(len(lines))
    for offset, line in enumerate(lines):
        if line.strip():
            try:
                yield offset, _load(line, exact=offset in suspects), line
            except ValueError as error:
                yield offset, error, line


def _load(line: bytes, *, exact: bool) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
        if exact:
            value = _EXACT.decode(line.decode())
        if line.count(b"[") + line.count(b"{") > _TOO_DEEP:
            dump(value)
    except (RecursionError, orjson.JSONEncodeError):
        raise ValueError("it is nested too deep") from None
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{error.msg} (character {error.pos + 1})") from None
    if type(value) is not dict:
        raise ValueError(f"it is {_KINDS.get(type(value), 'null')}")
    return value


def dump(value: object) -> str:
    """Compact JSON text of what `load` gave."""
    return orjson.dumps(value, default=_fragment, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()


def _fragment(value: Digits) -> orjson.Fragment:
    return orjson.Fragment(str(value))


def text(value: object) -> str | None:
    """A value as the text that `types:` starts from: a string is itself, the others are as JSON writes them."""
    if value is None or type(value) is str:
        return value
    return dump(value)


class Shape:
    """What was seen at one place of the objects: kinds with the place of the first value of each."""

    __slots__ = ("_flat", "_forms", "element", "kinds", "members")

    def __init__(self) -> None:
        self.kinds: dict[type, Place] = {}
        self.members: dict[str, Shape] = {}
        self.element: Shape | None = None
        # Objects of one form (keys and kinds) say the same; only their nested members may say more.
        self._forms: dict[tuple[tuple[str, ...], tuple[type, ...]], list[tuple[str, Shape]]] = {}
        # Kinds of the values of lists without nested ones.
        self._flat: set[type] = set()

    def see(self, value: object, place: Place, depth: int = 0) -> int:
        """Take in one value; returns how many keys its objects have (0 where there is no type for it anyway)."""
        if value is None:
            return 0
        if type(value) not in self.kinds:
            self.kinds[type(value)] = place
        if isinstance(value, dict):
            return self._see_members(value, place, depth)
        return self._see_items(value, place, depth) if isinstance(value, list) else 0

    def _see_members(self, value: dict[str, Any], place: Place, depth: int) -> int:
        if depth and (depth > _MAX_DEPTH or len(self.members) > _MAX_MEMBERS):
            self.kinds.setdefault(object, place)
            return 0
        form = (tuple(value), tuple(map(type, value.values())))
        nested = self._forms.get(form)
        if nested is None:
            nested = []
            for name, member in value.items():
                shape = self.members.get(name)
                if shape is None:
                    shape = self.members[name] = Shape()
                if member is not None:
                    shape.kinds.setdefault(type(member), place)
                if isinstance(member, (dict, list)):
                    nested.append((name, shape))
            # Too many forms to remember make the others slow, not wrong.
            if len(self._forms) < _MAX_FORMS:
                self._forms[form] = nested
        keys = len(value)
        for name, shape in nested:
            member = value[name]
            see = shape._see_members if type(member) is dict else shape._see_items  # noqa: SLF001
            keys += see(member, place, depth + 1)
        return keys

    def _see_items(self, value: list[Any], place: Place, depth: int) -> int:
        kinds = set(map(type, value))
        if self.element is not None and kinds <= self._flat:
            return 0
        if depth > _MAX_DEPTH:
            self.kinds.setdefault(object, place)
            return 0
        if self.element is None:
            self.element = Shape()
        if dict in kinds or list in kinds:
            return sum([self.element.see(item, place, depth + 1) for item in value])
        self._flat |= kinds
        for kind in kinds - {NoneType}:
            self.element.kinds.setdefault(kind, place)
        return 0

    def dtype(self) -> pl.DataType:
        """The polars type of all values here; `DIGITS` or `JSON` where there is none."""
        kinds = set(self.kinds)
        if not kinds:
            return pl.String()
        if kinds <= _NUMBERS and kinds not in ({int}, {float}):
            return DIGITS
        if len(kinds) > 1:
            return JSON
        kind = kinds.pop()
        if kind is dict:
            fields = [pl.Field(name, shape.dtype()) for name, shape in self.members.items()]
            return pl.Struct(fields) if fields else JSON
        if kind is list:
            inner = pl.String() if self.element is None else self.element.dtype()
            return JSON if holds_json(inner) else pl.List(inner)
        return {bool: pl.Boolean(), int: pl.Int64(), float: pl.Float64(), str: pl.String()}.get(kind, JSON)

    def conflict(self) -> str | None:
        """Two kinds that no column can hold at once, each with its first place, as words; None where there are none."""
        found: dict[str, tuple[Place, str]] = {}
        for kind, place in self.kinds.items():
            if kind is not object:
                family = "number" if kind in _NUMBERS else "nested" if kind in (dict, list) else kind.__name__
                found.setdefault(family, (place, _KINDS[kind]))
        words = [f"{what} (row {row}: {file}, line {line})" for (row, line, file), what in sorted(found.values())]
        return f"{words[0]} and {words[1]}" if len(words) > 1 else None


def series(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    """A column of `dtype` (a result of `Shape.dtype`) of values that `load` gave."""
    if not holds_json(dtype):
        return pl.Series(name, values, dtype, strict=True)
    stored = pl.Series(name, [_stored(value, dtype) for value in values], _storage(dtype))
    return stored.to_frame().select(_extended(pl.col(name), dtype).alias(name)).to_series()


def _stored(value: Any, dtype: pl.DataType) -> Any:
    if value is None or not holds_json(dtype):
        return value
    if isinstance(dtype, pl.Struct):
        return {field.name: _stored(value.get(field.name), inner_type(field.dtype)) for field in dtype.fields}
    return dump(value)


def _storage(dtype: pl.DataType) -> pl.DataType:
    if isinstance(dtype, pl.Struct):
        return pl.Struct([pl.Field(field.name, _storage(inner_type(field.dtype))) for field in dtype.fields])
    return pl.String() if is_json(dtype) else dtype


def _extended(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Struct) and holds_json(dtype):
        members = zip(fields(expr, dtype), dtype.fields, strict=True)
        found = [_extended(given, inner_type(f.dtype)).alias(f.name) for given, f in members]
        return pl.when(expr.is_not_null()).then(pl.struct(found))
    return expr.ext.to(dtype) if is_json(dtype) else expr
