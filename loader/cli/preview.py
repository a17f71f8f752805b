"""`loader preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson

from loader import previewing
from loader.cli.interrupts import nothing_kept
from loader.cli.options import exits, json_option, mapping_argument
from loader.cli.output import show
from loader.report import preview as report
from loader.report.words import command as command_words
from loader.sandbox.credentials import CREDENTIALS


@click.command("preview", epilog=exits("0  shown", "2  the mapping or the source is wrong"))
@mapping_argument()
@click.option("-n", "number", type=click.IntRange(1, 1000), default=3, show_default=True, help="How many rows.")
@click.option("--sandbox", is_flag=True, help="Use the stand-in's credentials.")
@json_option
def command(mapping: Path, number: int, sandbox: bool, as_json: bool) -> None:
    """Show payloads beside their rows.

    Keeps nothing, sends nothing and needs no credentials. Each payload is a whole request with this event alone.
    """
    with nothing_kept(lambda: False):
        found = previewing.preview(mapping, number, stand_ins=CREDENTIALS if sandbox else None)
    if as_json:
        rows = [_row(row) for row in found.rows]
        show(orjson.dumps({"mapping": found.mapping, "rows": rows, "filtered": found.filtered}))
        return
    show(f"{report.preview(found.rows, found.filtered)}\n\nto see the whole plan:\n{command_words('plan', mapping)}")


def _row(row: previewing.Row) -> dict[str, Any]:
    # JSON goes through as it is, so that numbers keep their digits.
    record = orjson.Fragment(row.record) if report.is_json(row.record) else row.record
    if row.rejected is not None:
        return {"row": row.number, "source": record, "rejected": vars(row.rejected), "destinations": []}
    return {
        "row": row.number,
        "source": record,
        "rejected": None,
        "destinations": [
            {
                "name": payload.destination,
                "provider": payload.provider,
                "request": None if payload.body is None else orjson.Fragment(payload.body),
                "rejected": None if payload.rejected is None else vars(payload.rejected),
                "late": payload.late,
            }
            for payload in row.payloads
        ],
    }
