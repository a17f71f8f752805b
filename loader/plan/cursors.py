"""Where the cursor of a mapping stands, and where a plan moves it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from loader.checkpoint import Checkpoint
from loader.errors import SourceError
from loader.settings import Cursor, CursorValue, cursor_from_text

# By how much a clock may differ from that of this machine, a time without a zone included.
_CLOCKS = timedelta(days=1)


def standing(checkpoint: Checkpoint, cursor: Cursor | None, *, again: bool = False) -> CursorValue | None:
    """Where the last plan left the `cursor` of a mapping, or somebody set it; None where the next run is the first.

    Raises SourceError where it is a value of another column; `again`: it does not matter then.
    """
    row = None if cursor is None else checkpoint.cursor()
    if row is None or cursor is None:
        return None
    if row["column"] == cursor.column:
        return cursor_from_text(row["value"])
    if again:
        return None
    raise SourceError(
        f"the cursor stands at {row['value'].partition(' ')[2]} of the column '{row['column']}', which says nothing "
        f"about the column '{cursor.column}' of now. Say from where to go on with `loader cursor MAPPING --set VALUE`, "
        "or start anew with `loader cursor MAPPING --clear`"
    )


def later(one: CursorValue | None, other: CursorValue | None) -> CursorValue | None:
    """The higher of two cursors; `other` where they are of different types."""
    if one is None or other is None:
        return other if one is None else one
    kinds = [(type(value), getattr(value, "tzinfo", None) is None) for value in (one, other)]
    return one if kinds[0] == kinds[1] and one > other else other  # type: ignore[operator]


def ahead(value: CursorValue | None) -> bool:
    """Whether a cursor stands at a time that this machine's clock has not reached: what comes next lies below it."""
    soon = datetime.now(UTC) + _CLOCKS
    if isinstance(value, datetime):
        return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)) > soon
    return isinstance(value, date) and value > soon.date()
