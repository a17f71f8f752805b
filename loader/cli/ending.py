"""How `loader run` ended, told to those who are not there: a webhook (`loader.notifying`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loader import pipeline
from loader.cli.output import warn_of
from loader.errors import Exit, LoaderError
from loader.notifying import Ending, notify
from loader.report.summary import next_step
from loader.report.words import command as command_words

# The command that helps where a run ended before it had numbers.
_HELP = {
    Exit.BUG: "status",
    Exit.WRONG: "doctor",
    Exit.TOO_MANY_REJECTED: "plan",
    Exit.UNREACHABLE: "run",
    Exit.REFUSED: "doctor",
    Exit.HELD: "status",
    Exit.SIGTERM: "run",
}


@dataclass
class Watched:
    """A run that is watched to its end; `result` is for who runs it to fill in."""

    result: pipeline.Result | None = None


@contextlib.contextmanager
def watched(mapping: Path, state: Path | None) -> Iterator[Watched]:
    """Tell how the block ended, with a result or an error, which goes on its way."""
    run = Watched()
    try:
        yield run
    except LoaderError as error:
        _tell(_failed(mapping, state, error.exit_code, str(error)))
        raise
    except Exception as error:
        # Its words may hold what a message must not.
        _tell(_failed(mapping, state, Exit.BUG, type(error).__name__))
        raise
    if run.result is not None:
        _tell(_ended(mapping, state, run.result))


def _failed(mapping: Path, state: Path | None, code: Exit, message: str) -> Ending:
    following = command_words(_HELP[code], mapping.absolute(), state=state) if code in _HELP else None
    return Ending(mapping, state, code, message, following=following)


def _ended(mapping: Path, state: Path | None, result: pipeline.Result) -> Ending:
    rejected = any(run.rejected for run in [result.run, *result.before])
    error = result.error
    step = next_step(
        result.run, mapping.absolute(), state, error, doubts_left=result.doubts_left, rejected=rejected
    )  # fmt: skip
    message = None if error is None else str(error)
    return Ending(mapping, state, result.exit_code, message, result.run, step and step.splitlines()[-1])


def _tell(ending: Ending) -> None:
    warning = notify(ending, os.environ)
    if warning is not None:
        warn_of(warning)
