"""Rejections as frames: a row that made no event, or an event that a destination will not get.

`SCHEMA`, one line a rejection:

    row      UInt64   number of the row, from 1 in source order
    reason   String   a code of `REASONS`
    field    String   the column or the event's field that is wrong; null where it is the whole row
    value    String   the value as text, cut at 200 characters; null where there is none
    message  String   what a person reads: what is wrong and what would be right
"""

from __future__ import annotations

from functools import cache

import polars as pl

# The column that numbers the rows of a frame; the name is one that no source uses, so that a source may have a `row`.
ROW = "__row"

SCHEMA: dict[str, pl.DataType] = {
    "row": pl.UInt64(),
    "reason": pl.String(),
    "field": pl.String(),
    "value": pl.String(),
    "message": pl.String(),
}

MAX_VALUE = 200

# Reason codes and what they mean, for reports and for `loader rejects`.
REASONS: dict[str, str] = {
    "ragged_row": "the row has more or fewer cells than there are columns",
    "bad_quotes": "text stands after the closing quote of a cell",
    "bad_encoding": "the row's bytes are not text in the encoding of the source",
    "bad_json": "the line is not a JSON object",
    "bad_type": "the value is not of the type that the mapping asks for",
    "bad_time": "the value is not a time that exists",
    "time_skipped": "the zone's clocks skip this time",
    "time_repeated": "the zone's clocks show this time twice",
    "not_computable": "the expression fails on this row",
    "not_in_lookup": "the value is not in the lookup table, and there is no default",
    "not_finite": "the number is NaN or infinite",
    "missing_id": "the event has no id, by which it would be known when it comes again",
    "missing_user": "the event has no user",
    "missing_name": "the event has no name",
    "missing_time": "the event has no time",
    "missing_cursor": "the cursor's column is null",
    "over_limit": "the value is over a limit of the provider",
    "bad_value": "the provider does not take this value",
    "duplicate_id": "another event of this plan has the same id",
    "late": "the event lies outside the time window that the provider accepts",
    "too_old": "the event left the time window that the provider accepts before it could be sent",
    "refused": "the provider refused the event",
    "skipped": "the event was in doubt, and somebody decided not to send it again",
    "cancelled": "the event was pending when somebody cancelled the run",
}


@cache
def empty() -> pl.DataFrame:
    """No rejections: a frame of `SCHEMA` and height 0; always the same one, as each frame of rows asks for it."""
    return pl.DataFrame(schema=SCHEMA)


def reject(
    frame: pl.DataFrame,
    mask: pl.Series,
    reason: str,
    field: str | None,
    message: str,
    value: pl.Expr | None = None,
    size: pl.Expr | None = None,
) -> pl.DataFrame:
    """Rejections (`SCHEMA`) of the rows of `frame` (with column `ROW`) where `mask` is true.

    `message` may contain `{value}` or `{size}`, which stands for the expression of that name as text.
    """
    text = pl.lit(None, pl.String) if value is None else value.cast(pl.String, strict=False).str.slice(0, MAX_VALUE)
    words = pl.lit(message)
    for placeholder, shown in (("{value}", text.fill_null("null")), ("{size}", size)):
        before, found, after = message.partition(placeholder)
        if found and shown is not None:
            words = pl.concat_str(pl.lit(before), shown, pl.lit(after))
    return frame.filter(mask).select(
        row=pl.col(ROW).cast(pl.UInt64),
        reason=pl.lit(reason),
        field=pl.lit(field, pl.String),
        value=text,
        message=words,
    )
