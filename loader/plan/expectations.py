"""`expect:` of a source: how many rows a run should find, so that half a file is not taken for a quiet night."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from loader.errors import UnmetExpectation
from loader.settings import Expect

# `change` is measured against the runs before: these many of them, once there are enough to know what is usual.
RUNS = 7
ENOUGH = 3


def hold_to(expect: Expect | None, rows: int, before: Sequence[int], say: Callable[[str], None]) -> None:
    """Raise UnmetExpectation, or say so, where `rows` are not as expected; see `unmet`."""
    words = None if expect is None else unmet(expect, rows, before)
    if words is None or expect is None:
        return
    if expect.unmet == "say":
        say(words)
        return
    raise UnmetExpectation(
        f"{words}. Nothing was sent, no file counts as loaded and no cursor was moved: look at the source, then run "
        "again. To load it as it is, add --no-expect"
    )


def unmet(expect: Expect, rows: int, before: Sequence[int]) -> str | None:
    """What is not as expected about `rows`, those of a run that are not filtered, in words; None where all is well.

    `before`: the same of earlier runs, the newest first.
    """
    wanted = []
    low, high = expect.rows or (None, None)
    if not _within(rows, low, high):
        wanted.append(_range(low, high))
    if expect.change is not None and len(before) >= ENOUGH:
        usual = median(before[:RUNS])
        least, most = (None if share is None else usual * (1 + share) for share in expect.change)
        if not _within(rows, least, most):
            bounds = _range(*(None if bound is None else round(bound) for bound in (least, most)))
            wanted.append(f"{bounds}, going by {usual:,g}, the median of the last {min(len(before), RUNS)} runs")
    if not wanted:
        return None
    noun = "row" if rows == 1 else "rows"
    return f"the source gave {rows:,} {noun}, not counting filtered ones; expected {' and '.join(wanted)}"


def _within(rows: int, low: float | None, high: float | None) -> bool:
    return (low is None or rows >= low) and (high is None or rows <= high)


def _range(low: int | None, high: int | None) -> str:
    if low == high:
        return f"{low:,}"
    if high is None:
        return f"at least {low:,}"
    return f"at most {high:,}" if low is None else f"{low:,} to {high:,}"
