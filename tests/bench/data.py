"""The race's input: a CSV of ten columns, the same rows each time but for the hours that Batch accepts.

`python -m tests.bench.data FILE ROWS`
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

USERS = 50_000
# The events lie in these hours before the file is made: Batch takes the last 24.
HOURS = 12
_ROWS_AT_ONCE = 250_000
_AWKWARD = ['say "hello"', "back\\slash", "tab\there", "two\nlines", "bell \x07", "snow ☃ and 🎿", "a\u2028b", "été"]
_TAGS = ["", "", "new", "sale", "new|sale", "app|vip|sale", "web"]


def write(path: Path, rows: int) -> None:
    """Write `rows` rows to `path`; times are UTC, without a zone, and end a minute ago."""
    last = datetime.now(UTC).replace(microsecond=0, tzinfo=None) - timedelta(minutes=1)
    path.unlink(missing_ok=True)
    with path.open("ab") as file:
        for start in range(0, rows, _ROWS_AT_ONCE):
            _frame(start, min(rows, start + _ROWS_AT_ONCE), last).write_csv(
                file, include_header=start == 0, datetime_format="%Y-%m-%d %H:%M:%S", float_precision=2
            )


def _frame(start: int, end: int, last: datetime) -> pl.DataFrame:
    """Rows from `start` to `end` (1 % of the labels awkward, a third of the channels and of the tags empty)."""
    return pl.select(number=pl.int_range(start, end, dtype=pl.Int64)).select(
        user_id=pl.format("user-{}", (_spread(1) % USERS).cast(pl.String).str.zfill(6)),
        event=_one_of(["purchase", "page_view", "add_to_cart", "sign_up"], 2),
        occurred_at=pl.lit(last) - pl.duration(seconds=_spread(3) % (HOURS * 3600)),
        label=pl.when(_spread(4) % 100 == 0)
        .then(_one_of(_AWKWARD, 5))
        .otherwise(pl.format("campaign {} of spring", _spread(5) % 1000)),
        product=pl.format("sku-{}", _spread(6) % 90_000 + 10_000),
        amount=(_spread(7) % 50_000 + 99) / 100,
        quantity=_spread(8) % 9 + 1,
        channel=pl.when(_spread(9) % 3 > 0).then(_one_of(["app", "web", "store"], 10)),
        ordered_at=pl.lit(last) - pl.duration(days=_spread(11) % 300, seconds=_spread(12) % 86_400),
        tags=_one_of(_TAGS, 13).replace("", None),
    )


def _spread(salt: int) -> pl.Expr:
    """Numbers below 262,144 that look random and depend on the row and on `salt` alone."""
    return (pl.col("number").hash(salt) % 2**18).cast(pl.Int64)


def _one_of(texts: list[str], salt: int) -> pl.Expr:
    return pl.lit(pl.Series(texts)).gather(_spread(salt) % len(texts))


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
