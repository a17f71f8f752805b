"""`loader check`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click

from loader.cli.options import exits, json_option, mapping_argument
from loader.cli.output import show, show_json
from loader.errors import MappingError
from loader.mapping import bind, read
from loader.report.words import plural
from loader.sources import found_files, open_source


@click.command("check", epilog=exits("0  the mapping fits its source", "2  it does not; all problems are listed"))
@mapping_argument()
@json_option
def command(mapping: Path, as_json: bool) -> None:
    """Check a mapping against its source.

    Reads the mapping and the source's columns and finds every problem at once, each with file:line:column.
    """
    try:
        found = read(mapping)
        with found_files(found.source) as inputs:
            source = open_source(found.source, inputs, timezone=found.timezone, cursor=None, used=found.used_columns())
            with closing(source):
                bind(found, source.columns)
    except MappingError as error:
        if as_json:
            show_json({"mapping": mapping.stem, "ok": False, "problems": [asdict(p) for p in error.problems]})
        raise
    names = [destination.name for destination in found.destinations]
    if as_json:
        columns = {name: str(dtype) for name, dtype in source.columns.items()}
        show_json({"mapping": found.name, "ok": True, "destinations": names, "columns": columns})
        return
    show(f"ok: {plural(len(names), 'destination')} ({', '.join(names)}), columns {', '.join(source.columns)}")
