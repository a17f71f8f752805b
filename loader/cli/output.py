"""Results to stdout, errors to stderr. A reader that goes away early is no error."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import UTC, datetime
from typing import Any

import click

from loader.errors import LoaderError, MappingError, UsageError


def show(text: str | bytes) -> None:
    """Print a result."""
    try:
        click.echo(text)
    except OSError as error:
        # Python writes what is buffered once more when it ends: into nothing then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise UsageError(
                f"the result cannot be printed: {error.strerror}. What was done is done; `loader status` shows it"
            ) from None


def show_json(value: Any) -> None:
    """Print one JSON object in UTF-8, whatever the terminal's encoding."""
    show(json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace"))


def log_words() -> set[str]:
    """What `LOADER_LOG` asks for: `json` or `text` (each line with its time and level), and `debug`."""
    return set(re.split(r"[\s,]+", os.environ.get("LOADER_LOG", "").lower()))


def log(event: str, text: str, *, level: str = "info", **fields: Any) -> None:
    """Print a record on stderr: `text` for people, `event` and `fields` for machines."""
    words, now = log_words(), datetime.now(UTC).isoformat(timespec="milliseconds")
    if "json" in words:
        warn(json.dumps({"time": now, "level": level, "event": event, **fields}, ensure_ascii=False))
    else:
        warn(f"{now} {level:<7} {text}" if "text" in words else text)


def complain(error: LoaderError) -> None:
    """Print an error: `loader: what happened`; problems of a mapping stand as they are, `file:line:column: message`."""
    text = str(error) if isinstance(error, MappingError) else f"loader: {error}"
    log("error", text, level="error", message=str(error), exit=int(error.exit_code))


def warn_of(message: str) -> None:
    """Print a warning: something that changes nothing, and that a person should know."""
    log("warning", f"loader: {message}", level="warning", message=message)


def warn(line: str) -> None:
    """Print a line on stderr."""
    try:
        click.echo(line, err=True)
    except OSError:
        # Nobody reads it; the exit code still tells.
        return
