"""The race's input: rows of ten columns, the same each time but for the hours that Batch accepts.

python -m tests.bench.data FILE ROWS          (FILE: .csv or .parquet)
python -m tests.bench.data postgresql://…#TABLE ROWS CSV     (a table with the rows of CSV)
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
    if path.suffix == ".parquet":
        _frame(0, rows, last).write_parquet(path, row_group_size=_ROWS_AT_ONCE)
        return
    with path.open("ab") as file:
        for start in range(0, rows, _ROWS_AT_ONCE):
            _frame(start, min(rows, start + _ROWS_AT_ONCE), last).write_csv(
                file, include_header=start == 0, datetime_format="%Y-%m-%d %H:%M:%S", float_precision=2
            )


_COLUMNS = """user_id text, event text, occurred_at timestamp, label text, product text,
    amount double precision, quantity bigint, channel text, ordered_at timestamp, tags text"""


def fill(url: str, table: str, path: Path) -> None:
    """Make a table of the rows of the CSV file `path`."""
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute(f'CREATE UNLOGGED TABLE "{table}" ({_COLUMNS})')
        with (
            connection.cursor().copy(f'COPY "{table}" FROM STDIN (FORMAT csv, HEADER)') as copy,
            path.open("rb") as file,
        ):
            while block := file.read(1 << 20):
                copy.write(block)


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
    if sys.argv[1].startswith("postgresql://"):
        database, into = sys.argv[1].rsplit("#", 1)
        fill(database, into, Path(sys.argv[3]))
    else:
        write(Path(sys.argv[1]), int(sys.argv[2]))
