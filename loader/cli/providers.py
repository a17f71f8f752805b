"""`loader providers`."""

from __future__ import annotations

import click

from loader.cli.options import json_option
from loader.cli.output import show, show_json
from loader.providers import PROVIDERS
from loader.report import providers as report


@click.command("providers")
@json_option
def command(as_json: bool) -> None:
    """Show providers with their settings, limits and fields."""
    if as_json:
        show_json({"providers": [report.as_json(provider) for provider in PROVIDERS.values()]})
    else:
        show(report.providers(list(PROVIDERS.values())))
