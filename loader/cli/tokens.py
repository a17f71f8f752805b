"""`loader tokens`."""

from __future__ import annotations

from pathlib import Path

import click

from loader.cli.options import exits, json_option, mapping_argument, run_option, state_option
from loader.cli.output import show, show_json
from loader.cli.stored import existing, runs_of
from loader.report.status import tokens


@click.command("tokens", epilog=exits("0  shown", "2  there is no such run, or the state cannot be read"))
@mapping_argument()
@run_option
@state_option
@json_option
def command(mapping: Path, run: str | None, state: Path | None, as_json: bool) -> None:
    """List the tokens that providers gave for chunks.

    One line per chunk that has one: run, destination, chunk, the rows among which its events are, events, token, time.
    """
    checkpoint, _ = existing(mapping, state)
    found = [
        {
            "run": name,
            "destination": chunk["destination"],
            "chunk": chunk["number"],
            "first_row": chunk["first_row"],
            "last_row": chunk["last_row"],
            "events": chunk["events"] - chunk["refused"],
            "token": chunk["token"],
            "time": chunk["changed"],
        }
        for name in runs_of(checkpoint, run)
        for chunk in (checkpoint.chunks_of(name) if checkpoint is not None else [])
        if chunk["token"] is not None
    ]
    if as_json:
        show_json({"mapping": mapping.stem, "tokens": found})
    else:
        show(tokens(found))
