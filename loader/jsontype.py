"""A polars type for values that are JSON already: compact JSON text that reaches the provider as it is."""

from __future__ import annotations

import polars as pl


class Json(pl.BaseExtension):
    """Compact JSON text over `String`. Made with `series.ext.to(JSON)`, taken apart with `.ext.storage()`."""

    def __init__(self) -> None:
        super().__init__("loader.json", pl.String)


pl.register_extension_type("loader.json", Json)

JSON = Json()


def is_json(dtype: pl.DataType) -> bool:
    """Whether a column of `dtype` holds JSON text."""
    return isinstance(dtype, Json)
