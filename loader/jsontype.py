"""Polars types for values that are JSON already: text that reaches the provider as it is."""

from __future__ import annotations

import polars as pl


class Json(pl.BaseExtension):
    """Compact JSON text over `String`. Made with `series.ext.to(JSON)`, taken apart with `.ext.storage()`."""

    def __init__(self, name: str = "loader.json") -> None:
        super().__init__(name, pl.String)


class Digits(Json):
    """A JSON number that keeps the digits it was written with, such as 12.10."""

    def __init__(self) -> None:
        super().__init__("loader.digits")


pl.register_extension_type("loader.json", Json)
pl.register_extension_type("loader.digits", Digits)

JSON = Json()
DIGITS = Digits()


def is_json(dtype: pl.DataType) -> bool:
    """Whether a column of `dtype` holds JSON text."""
    return isinstance(dtype, Json)


def holds_json(dtype: object) -> bool:
    """Whether values of `dtype` are JSON text, or lists or objects with JSON text anywhere in them."""
    if isinstance(dtype, pl.Struct):
        return any(holds_json(field.dtype) for field in dtype.fields)
    return holds_json(dtype.inner) if isinstance(dtype, (pl.List, pl.Array)) else isinstance(dtype, Json)


def inner_type(dtype: object) -> pl.DataType:
    """A type inside a type, which polars allows to be given as a class."""
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[return-value]


def fields(expr: pl.Expr, dtype: pl.Struct) -> list[pl.Expr]:
    """The members of a struct in their order. By name, one called `*` or `^a$` would stand for others."""
    numbers = [str(at) for at in range(len(dtype.fields))]
    numbered = expr.struct.rename_fields(numbers)
    return [numbered.struct.field(number) for number in numbers]
