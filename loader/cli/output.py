"""Results to stdout, errors to stderr. A reader that goes away early is no error."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

import click

from loader.errors import LoaderError, MappingError


def show(text: str | bytes) -> None:
    """Print a result."""
    try:
        click.echo(text)
    except BrokenPipeError:
        # Python writes what is buffered once more when it ends: into nothing then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_json(value: Any) -> None:
    """Print one JSON object in UTF-8, whatever the terminal's encoding."""
    show(json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace"))


def json_log() -> bool:
    """Whether stderr is for machines (`LOADER_LOG=json`)."""
    return os.environ.get("LOADER_LOG", "").lower() == "json"


def log_line(event: str, **fields: Any) -> str:
    """A line of the log for machines."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": now, "event": event, **fields}, ensure_ascii=False)


def complain(error: LoaderError) -> None:
    """Print an error: `loader: what happened`; problems of a mapping stand as they are, `file:line:column: message`."""
    if json_log():
        warn(log_line("error", message=str(error), exit=int(error.exit_code)))
    elif isinstance(error, MappingError):
        warn(str(error))
    else:
        warn(f"loader: {error}")


def warn_of(message: str) -> None:
    """Print a warning: something that changes nothing, and that a person should know."""
    warn(log_line("warning", message=message) if json_log() else f"loader: {message}")


def warn(line: str) -> None:
    """Print a line on stderr."""
    try:
        click.echo(line, err=True)
    except OSError:
        # Nobody reads it; the exit code still tells.
        return
