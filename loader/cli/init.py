"""`loader init`."""

from __future__ import annotations

from pathlib import Path

import click

from loader import initializing
from loader.cli.interrupts import nothing_kept
from loader.cli.options import SIGNALS, exits
from loader.cli.output import show
from loader.cli.progress import watch
from loader.errors import UsageError
from loader.providers import PROVIDERS
from loader.report.words import command as command_words
from loader.report.words import plural, table

EXITS = exits(
    "0  the mapping is written",
    "2  the data cannot be read, or the mapping file is there already",
    SIGNALS,
)


@click.command("init", epilog=EXITS)
@click.argument("source", metavar="FILE|URL")
@click.option("--provider", required=True, type=click.Choice(list(PROVIDERS)), help="Where events will go.")
@click.option("--table", "table_name", metavar="TABLE", help="A table or view of the database.")
@click.option("--query", metavar="SQL", help="A SELECT, instead of a table.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.yaml",
    help="The mapping; default: <name>_to_<provider>.yaml here.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def command(
    *, source: str, provider: str, table_name: str | None, query: str | None, output: Path | None, force: bool
) -> None:
    """Write a mapping from the data.

    Reads all of a .csv, .tsv, .txt, .jsonl, .ndjson (.gz, .zst) or .parquet file, or of a database's table or query, to
    prove types. Which column is the user, the time and the id is guessed by name; the file says so where it is.
    """
    target = output or initializing.default_output(source, provider, table_name)
    if target.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--output takes a file that ends in .yaml, not {target}")
    if target.exists() and not force:
        raise UsageError(f"{target} is there already; choose another file with --output, or write over it with --force")
    with watch(target.stem) as progress, nothing_kept(lambda: False):
        made = initializing.initialize(source, provider, target, progress.planning, table=table_name, query=query)
    try:
        with target.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
            file.write(made.scaffold.text)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from None
    show(_words(target, made))


def _words(target: Path, made: initializing.Initialized) -> str:
    found, scaffold = made.found, made.scaffold
    read = f"{plural(found.rows, 'row')}, {plural(len(found.columns), 'column')}"
    if found.unread:
        read += f"; {plural(found.unread, 'row')} could not be read"
    parts = [f"{target} written from {found.origin}: {read}"]
    fields = [(name, scaffold.guesses[name]) for name in ("id", "user", "name", "time") if name in scaffold.guesses]
    parts.append("\n".join(["guessed, look it over:", *(f"  {line}" for line in table(fields, "<<"))]))
    if scaffold.open:
        parts.append("\n".join(["missing, fill it in:", *(f"  {line}" for line in scaffold.open)]))
    decide = list(scaffold.decide)
    if made.secret is not None:
        decide.append(f"source: the URL may hold a secret and is not written; put it into {made.secret}")
    if decide:
        parts.append("\n".join(["to decide:", *(f"  {line}" for line in decide)]))
    if scaffold.open:
        parts.append(f"where it has to be filled in:\n{command_words('check', target)}")
    else:
        parts.append(f"payloads beside their rows:\n{command_words('preview', target)}")
    return "\n\n".join(parts)
