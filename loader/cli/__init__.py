"""The command line. A command is a file of this folder and is imported when it is asked for, so that help is quick.

Here is the one place where an error becomes words on stderr and an exit code. What is not a `LoaderError` is a bug and
escapes: a traceback and exit 1.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import os
import sys
from pathlib import Path
from typing import Any

import click

from loader.cli.interrupts import Terminated, terminable
from loader.cli.output import complain
from loader.errors import Exit, LoaderError

# In the order of use. The words are those that each command's own help begins with.
COMMANDS = {
    "init": "Write a mapping from the data.",
    "check": "Check a mapping against its source.",
    "doctor": "Look for what would stop a run.",
    "preview": "Show payloads beside their rows.",
    "plan": "Stage what is new and show it; send nothing.",
    "run": "Finish what is unfinished, then load what is new.",
    "status": "Show runs, files and cursors.",
    "cursor": "Show from where the next run goes on, or change it.",
    "tokens": "List the tokens that providers gave for chunks.",
    "rejects": "Show rejections by reason, or write the rejected rows to a file.",
    "retry": "Send refused events again, as they were planned.",
    "report": "Write a run as a page for a browser.",
    "resolve": "Decide about chunks in doubt.",
    "cancel": "Drop what is pending.",
    "prune": "Remove plans and rows of old runs.",
    "providers": "Show providers with their settings, limits and fields.",
    "schema": "Print the JSON Schema of mapping files.",
    "sandbox": "Serve the stand-in of all providers.",
}

# A process that ends needs no garbage looked for, which Python would do in all that was imported.
atexit.register(gc.freeze)


class LazyGroup(click.Group):
    """The group of `COMMANDS`. Lists them without importing any, and turns errors into words and exit codes."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command called `cmd_name`, or None."""
        if cmd_name not in COMMANDS:
            return None
        # What is imported stays: looking through it for garbage takes a tenth of the time that starting takes.
        gc.disable()
        command: click.Command = importlib.import_module(f"loader.cli.{cmd_name}").command
        gc.freeze()
        gc.enable()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that `args` begin with; an unknown one fails with the nearest name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(f"there is no command '{args[0]}'" + (f"; did you mean '{near[0]}'?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names and what they do."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Every `LoaderError` ends here."""
        # A stream that was closed before we came.
        sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # Data may hold characters that the terminal lacks; they are no reason to fail.
                stream.reconfigure(errors="backslashreplace")
        try:
            with terminable():
                return super().invoke(ctx)
        except LoaderError as error:
            complain(error)
            ctx.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            complain(LoaderError("interrupted"))
            ctx.exit(Exit.SIGINT)
        except Terminated:
            complain(LoaderError("interrupted"))
            ctx.exit(Exit.SIGTERM)


def _version(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if not asked or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"loader {version('event-batch-loader')}")
    except PackageNotFoundError:
        click.echo("loader, not installed")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`loader COMMAND --help` tells more, exit codes included.",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def main() -> None:
    """Load events from files and databases into marketing and product providers."""
