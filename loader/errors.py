"""Every error that `loader` shows to a person, who must act on it, and the exit code it ends with.

    LoaderError                     the message is for the reader, never a traceback
    ├── UsageError          exit 2  the command line asks for something that cannot be
    ├── MappingError        exit 2  the mapping file is wrong; carries every problem at once
    ├── ProviderError       exit 2  a provider of another distribution is broken, or its name is taken
    ├── SourceError         exit 2  the data cannot be read, or changed while it was read
    │   ├── NoFileMatches   exit 2  a glob finds no file; no error once files were loaded
    │   └── ConnectionLost  exit 2  the connection to the database broke; what was read is not kept
    ├── UnmetExpectation    exit 2  the source gave more or fewer rows than the mapping expects
    ├── LateEventsError     exit 2  events outside the time window that a provider accepts
    ├── TooManyRejections   exit 4  more rejections than `--max-rejected`
    ├── Unreachable         exit 5  the provider could not be reached or kept refusing for load
    ├── Refused             exit 6  the provider refused the credentials or the route
    ├── StateError          exit 2  the state folder or the checkpoint cannot be used
    │   └── StateHeld       exit 8  another process holds this mapping's state
    ├── DoesNotAddUp        exit 1  the numbers of a run contradict each other
    └── Interrupted         exit 130 or 143  SIGINT or SIGTERM; the state is saved

Anything else that escapes is a bug: exit 1, too, and a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """The exit codes of the command line."""

    DONE = 0
    BUG = 1
    WRONG = 2
    REJECTED = 3
    TOO_MANY_REJECTED = 4
    UNREACHABLE = 5
    REFUSED = 6
    IN_DOUBT = 7
    HELD = 8
    SIGINT = 130
    SIGTERM = 143


class LoaderError(Exception):
    """Base of all errors with a message for the reader: what happened, where, and what to do next."""

    exit_code: Exit = Exit.WRONG


class UsageError(LoaderError):
    """The command line asks for something that cannot be done; the caller changes the command."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a mapping file: where it stands (1-based), and what was expected."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class MappingError(LoaderError):
    """The mapping file is wrong; `problems` holds all that was found, in the order of the file."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(set(problems), key=lambda p: (p.file, p.line, p.column, p.message))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ProviderError(LoaderError):
    """A provider that another distribution brings cannot be used; whoever installed it mends or removes it."""


class SourceError(LoaderError):
    """The source cannot be read as the mapping says; nothing of this read is kept."""


class NoFileMatches(SourceError):
    """A glob of the source finds no file. `found`: the files that its other paths name."""

    def __init__(self, message: str, found: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.found = found


class ConnectionLost(SourceError):
    """The connection to a database broke, or, where not even `opened`, could not be made. Another read may succeed."""

    def __init__(self, message: str, *, opened: bool) -> None:
        super().__init__(message)
        self.opened = opened


class UnmetExpectation(LoaderError):
    """The source gave more or fewer rows than `expect:` says; nothing was sent, and nothing counts as loaded."""


class LateEventsError(LoaderError):
    """Events lie outside the time window that a provider accepts, and the mapping does not say what to do with them."""


class TooManyRejections(LoaderError):
    """More rows or events were rejected than `--max-rejected` allows."""

    exit_code = Exit.TOO_MANY_REJECTED


class Unreachable(LoaderError):
    """The provider could not be reached, or kept refusing for load, for longer than `give_up_after`."""

    exit_code = Exit.UNREACHABLE


class Refused(LoaderError):
    """The provider refused the credentials or the route; nothing more is sent until somebody mends them."""

    exit_code = Exit.REFUSED


class StateError(LoaderError):
    """The state folder or the checkpoint in it cannot be used."""


class StateHeld(StateError):
    """Another process holds this mapping's state."""

    exit_code = Exit.HELD


class DoesNotAddUp(LoaderError):
    """The numbers of a run contradict each other: never a result."""

    exit_code = Exit.BUG

    def __init__(self, numbers: str) -> None:
        super().__init__(
            f"{numbers}. The state is damaged or the loader has a bug: restore the state folder from a backup, "
            "and report these numbers"
        )


class Interrupted(LoaderError):
    """SIGINT or SIGTERM arrived; what was in flight is finished and saved."""

    def __init__(self, message: str, exit_code: Exit) -> None:
        super().__init__(message)
        self.exit_code = exit_code
