"""`loader schema`."""

from __future__ import annotations

import json

import click

from loader.cli.output import show
from loader.mapping import json_schema


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of mapping files.

    For editors: name its file in the first line of a mapping, `# yaml-language-server: $schema=...`.
    """
    show(json.dumps(json_schema(), indent=2, ensure_ascii=False).encode())
