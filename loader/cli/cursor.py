"""`loader cursor`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from loader.checkpoint import Checkpoint
from loader.cli.options import HELD, exits, json_option, mapping_argument, state_option
from loader.cli.output import show, show_json
from loader.cli.stored import existing
from loader.errors import SourceError, UsageError
from loader.mapping import Mapping, read
from loader.plan import later
from loader.report.cursor import Move, Position, moved, standing
from loader.settings import Cursor, CursorValue, SqlSettings, cursor_from_text, cursor_to_text
from loader.sources import found_files, open_source
from loader.state import hold


@click.command(
    "cursor",
    epilog=exits(
        "0  shown, or changed",
        "2  the mapping has no cursor, the value is not of its type, or the source or the state cannot be read",
        HELD,
    ),
)
@mapping_argument()
@click.option("--set", "value", metavar="VALUE", help="Let the next run go on above VALUE.")
@click.option("--clear", is_flag=True, help="Forget the cursor: the next run starts from `initial`.")
@state_option
@json_option
def command(mapping: Path, value: str | None, clear: bool, state: Path | None, as_json: bool) -> None:
    """Show from where the next run goes on, or change it.

    VALUE is checked against the type of the cursor's column, so the source is opened for it; no row is kept. Says what
    the change has for an effect.
    """
    if value is not None and clear:
        raise UsageError("--set and --clear exclude each other")
    found = read(mapping, credentials="optional")
    cursor = found.source.cursor
    if cursor is None:
        raise UsageError(f"the source of {mapping} has no `cursor:`; `loader check` lists its columns")
    checkpoint, folder = existing(mapping, state)
    if value is None and not clear:
        now = _position(checkpoint, cursor)
        show_json(now.as_json()) if as_json else show(standing(found.name, now))
        return
    with hold(folder):
        checkpoint = checkpoint or Checkpoint.open(folder, found.name)
        checkpoint.claim(mapping.absolute())
        before = _position(checkpoint, cursor)
        typed = None if value is None else _typed(found, value, before)
        checkpoint.move_cursor(cursor.column, None if typed is None else cursor_to_text(typed))
        after = _position(checkpoint, cursor)
        unfinished = checkpoint.unfinished()
        checkpoint.close()
    move = Move(
        before,
        after,
        _direction(before, typed),
        ids=found.has_ids,
        files=not isinstance(found.source, SqlSettings),
        unfinished=None if unfinished is None else unfinished["run"],
    )
    if as_json:
        show_json({**after.as_json(), "before": before.value, "unfinished": move.unfinished})
    else:
        show(moved(found.name, move, mapping, state))


def _position(checkpoint: Checkpoint | None, cursor: Cursor) -> Position:
    row = None if checkpoint is None else checkpoint.cursor()
    lag = None if cursor.lag is None else float(cursor.lag)
    initial = None if cursor.initial is None else str(cursor.initial)
    if row is None:
        return Position(cursor.column, None, None, None, initial, lag)
    return Position(row["column"], row["value"], row["run"], row["changed"], initial, lag)


def _typed(mapping: Mapping, value: str, before: Position) -> CursorValue:
    """`value` as the cursor's column holds it. Raises SourceError."""
    cursor = mapping.source.cursor
    assert cursor is not None
    # Some databases tell no type where the query gives no row: then what was there before does.
    known: CursorValue | None = cursor.initial
    if before.value is not None and before.column == cursor.column:
        known = cursor_from_text(before.value)
    given: CursorValue = value
    if isinstance(known, (int, float)):
        try:
            given = type(known)(value)
        except ValueError:
            wanted = "an integer" if isinstance(known, int) else "a number"
            raise SourceError(
                f"the cursor's value '{value}' does not fit the column '{cursor.column}'; expected {wanted}"
            ) from None
    with found_files(mapping.source) as inputs:
        source = open_source(
            mapping.source, inputs, timezone=mapping.timezone, cursor=given, used=mapping.used_columns()
        )
        with closing(source):
            typed = source.cursor
    if typed is None:
        raise SourceError("the type of the cursor's column is not known: the source has no such column")
    return typed


def _direction(before: Position, after: CursorValue | None) -> int:
    """-1 where the cursor goes back, 1 forward, 0 where it stays or nobody can tell."""
    if before.value is None or after is None:
        return -1 if before.value is not None else 0
    old = cursor_from_text(before.value)
    if old == after:
        return 0
    return 1 if later(after, old) == after else -1
