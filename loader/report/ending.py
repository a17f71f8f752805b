"""How a run ended, for those who were not there: a webhook, metrics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from loader.errors import Exit
from loader.report.totals import RunTotals
from loader.report.words import one_line

# Only of these is the cause part of what is told apart: of the others it may differ every night.
_WITH_CAUSE = (Exit.BUG, Exit.WRONG, Exit.REFUSED)


@dataclass(frozen=True)
class Ending:
    """How `loader run` of a mapping ended. `message`: what went wrong. `run`: its numbers, if it came so far.
    `before`: earlier runs that it finished. `following`: the command for what is left to do. `seconds`: its duration.
    """

    mapping: Path
    state: Path | None
    exit_code: Exit
    message: str | None = None
    run: RunTotals | None = None
    before: tuple[RunTotals, ...] = ()
    following: str | None = None
    seconds: float = 0.0

    @property
    def told_apart(self) -> tuple[int, str]:
        """What makes it another outcome: the exit code, and the cause without numbers and names that change."""
        cause = (self.message or "") if self.exit_code in _WITH_CAUSE else ""
        return int(self.exit_code), re.sub(r"\w*\d\w*", "#", one_line(cause))
