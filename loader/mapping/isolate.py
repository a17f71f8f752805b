"""The rows on which an expression fails.

Polars fails a frame as a whole, and one bad value must not reject its neighbours.

A block of rows that fails is split and tried again. What splits best is what the expression itself does: a strict
cast fails where the lenient one gives null, and a CASE fails only in the branch taken. A block in which polars says
that every value failed is settled at once; else blocks are cut into pieces down to single rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from loader.mapping.expressions import FAILURES, first_line, parse

_PIECES = 8
_POSITION = "\0position"


@dataclass(frozen=True)
class Evaluated:
    """`values`: null where the expression failed. `causes`: why it failed there, null elsewhere; None: nowhere."""

    values: pl.Series
    causes: pl.Series | None


def evaluate(rows: pl.DataFrame, sql: str, dtype: pl.DataType) -> Evaluated:
    """The values of the row-by-row expression `sql` of type `dtype` over `rows`, row by row where it fails."""
    expression = parse(sql)[0]
    if expression is None:
        raise ValueError(sql)
    try:
        return Evaluated(_values(rows, expression), None)
    except FAILURES:
        pass
    roots = list(dict.fromkeys(expression.meta.root_names()))
    # Series by series: a column that polars holds as one repeated value would be computed, and counted, once.
    block = pl.DataFrame([rows.get_column(name) for name in roots], height=rows.height).with_row_index(_POSITION)
    formats = re.findall(r"'([^']*%[^']*)'", sql)
    splits = list(_splits(expression, rows, formats))
    failed = dict(_failing(block, expression, splits))
    positions = pl.Series(list(failed), dtype=pl.UInt32)
    causes = pl.Series([None], dtype=pl.String).new_from_index(0, rows.height)
    causes = causes.scatter(positions, pl.Series(list(failed.values()), dtype=pl.String))
    good = causes.is_null()
    values = _values(block.filter(good), expression).cast(dtype)
    index = (good.cum_sum() - 1).cast(pl.UInt32, strict=False)
    index = index.to_frame("index").select(pl.when(good).then(pl.col("index"))).to_series()
    return Evaluated(values.gather(index), causes)


def _values(rows: pl.DataFrame, expression: pl.Expr) -> pl.Series:
    # Beside a column of full height a constant has one value for each row.
    height = pl.Series("\0", [0], dtype=pl.Int8).new_from_index(0, rows.height)
    return rows.select(height, expression.alias("\0value")).to_series(1)


def _failing(block: pl.DataFrame, expression: pl.Expr, splits: list[pl.Expr]) -> Iterator[tuple[int, str]]:
    """Position and cause of each row of `block` on which `expression` fails."""
    rest = [block]
    while rest:
        block = rest.pop()
        if block.height == 0:
            continue
        try:
            _values(block, expression)
            continue
        except FAILURES as error:
            said = first_line(error)
        if block.height == 1 or _all_failed(said, block.height):
            cause = re.sub(r" failed in column .*| for \d+ out of \d+ values.*", " failed", said)
            yield from ((position, cause) for position in block[_POSITION])
            continue
        rest.extend(_split(block, splits))


def _all_failed(said: str, height: int) -> bool:
    counts = re.search(r"for (\d+) out of (\d+) values", said)
    return counts is not None and int(counts[1]) == int(counts[2]) == height


def _split(block: pl.DataFrame, splits: list[pl.Expr]) -> list[pl.DataFrame]:
    for split in splits:
        try:
            mask = _values(block, split).fill_null(False)
        except FAILURES:
            continue
        if 0 < mask.sum() < block.height:
            return [block.filter(mask), block.filter(~mask)]
    size = -(-block.height // _PIECES)
    return [block.slice(start, size) for start in range(0, block.height, size)]


def _splits(expression: pl.Expr, rows: pl.DataFrame, formats: list[str]) -> Iterator[pl.Expr]:
    """Boolean expressions that part rows that fail from rows that do not, inner ones first.

    They only save time: what fails is found by trying. So what cannot be taken apart is passed over.
    """
    try:
        inputs = expression.meta.pop()
        dtype = rows.lazy().select(expression.alias("\0value")).collect_schema()["\0value"]
    except FAILURES:
        return
    for part in inputs:
        yield from _splits(part, rows, formats)
    if dtype == pl.Boolean:
        yield expression
    written = str(expression)
    for part in inputs:
        if ".strict_cast(" in written:
            yield part.is_not_null() & part.cast(dtype, strict=False).is_null()
        elif ".strptime(" in written and isinstance(dtype, (pl.Datetime, pl.Date, pl.Time)):
            for written_as in formats:
                yield part.is_not_null() & part.str.strptime(dtype, written_as, strict=False).is_null()
