"""How `loader run` ended, told to those who were not there: a webhook (`loader.notifying`), metrics
(`loader.measuring`)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from loader import pipeline
from loader.cli.output import warn_of
from loader.errors import Exit, LoaderError
from loader.measuring import measure
from loader.notifying import notify
from loader.report.ending import Ending
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
def watched(mapping: Path, state: Path | None, metrics: Path | None) -> Iterator[Watched]:
    """Tell how the block ended, with a result or an error, which goes on its way. `metrics`: the folder for them."""
    run, began = Watched(), time.monotonic()

    def tell(ending: Ending) -> None:
        ending = replace(ending, seconds=time.monotonic() - began)
        warning = notify(ending, os.environ)
        for line in [*([warning] if warning is not None else []), *measure(ending, metrics, os.environ)]:
            warn_of(line)

    try:
        yield run
    except LoaderError as error:
        tell(_failed(mapping, state, error.exit_code, str(error)))
        raise
    except Exception as error:
        # Its words may hold what a message must not.
        tell(_failed(mapping, state, Exit.BUG, type(error).__name__))
        raise
    if run.result is not None:
        tell(_ended(mapping, state, run.result))


def _failed(mapping: Path, state: Path | None, code: Exit, message: str) -> Ending:
    following = command_words(_HELP[code], mapping.absolute(), state=state) if code in _HELP else None
    return Ending(mapping, state, code, message, following=following)


def _ended(mapping: Path, state: Path | None, result: pipeline.Result) -> Ending:
    rejected = any(run.rejected for run in [result.run, *result.before])
    error = result.error
    step = next_step(result.run, mapping.absolute(), state, error, doubts_left=result.doubts_left, rejected=rejected)
    return Ending(
        mapping,
        state,
        result.exit_code,
        None if error is None else str(error),
        result.run,
        tuple(result.before),
        None if step is None else step.splitlines()[-1],
    )
