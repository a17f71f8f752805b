"""Arguments and options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from loader.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])


def _existing(_ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    return path if path is None else existing_file(path)


def existing_file(path: Path) -> Path:
    """`path`. Raises UsageError where it is no file."""
    if path.is_file():
        return path
    raise UsageError(f"{path} is a folder, not a mapping file" if path.is_dir() else f"{path} does not exist")


def mapping_argument(*, required: bool = True, checked: bool = True) -> Callable[[Command], Command]:
    """The argument MAPPING, an existing file; not `checked`, the command asks for `existing_file` itself."""
    callback = _existing if checked else None
    return click.argument("mapping", type=click.Path(path_type=Path), required=required, callback=callback)


state_option = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the state, instead of .loader beside the mapping (or LOADER_STATE).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
again_option = click.option("--again", is_flag=True, help="Take all rows, those that were delivered before too.")
max_rejected_option = click.option(
    "--max-rejected", metavar="N|P%", help="Stop when more rows and events are rejected (exit 4)."
)
expect_option = click.option(
    "--no-expect", is_flag=True, help="Go on where the source gives more or fewer rows than it should."
)
run_option = click.option("--run", metavar="RUN", help="One run, by its name in `loader status`.")
sandbox_option = click.option("--sandbox", is_flag=True, help="Use the stand-in's credentials; keep no state.")


def exits(*codes: str) -> str:
    """An epilog that lists exit codes as they are given, one a line."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code}" for code in codes)


HELD = "8  another process holds this mapping's state"
SIGNALS = "130, 143  interrupted"
