"""What a plan looks like before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loader.report.rejects import Example
from loader.report.summary import equations, rejections
from loader.report.totals import RunTotals
from loader.report.words import duration, plural, size, table


@dataclass(frozen=True)
class Load:
    """What one destination will get. `requests`: one per chunk that is not sent yet. `rate`: requests a second.
    `warning`: what its provider says of so many events."""

    name: str
    chunks: int
    requests: int
    bytes: int
    rate: float | None
    warning: str | None = None

    @property
    def seconds_at_rate(self) -> float | None:
        """How long the requests take at the rate; None where none is known."""
        return None if self.rate is None else self.requests / self.rate

    @property
    def pace(self) -> str:
        """The rate and the time in words."""
        if self.rate is None or self.seconds_at_rate is None:
            return "no rate published"
        per, unit = (self.rate, "s") if self.rate >= 10 else (self.rate * 60, "min")
        return f"{duration(self.seconds_at_rate)} at {per:,.4g} requests/{unit}"


def planned(run: RunTotals, loads: Sequence[Load], examples: dict[tuple[str, str], Example]) -> str:
    """A plan on one screen. `examples`: of rejections, by destination (or '') and reason."""
    begun = any(d.requests for d in run.destinations)
    state = "planned before and partly sent; this command sent nothing" if begun else "planned; nothing was sent"
    rows = [
        (load.name, plural(load.chunks, "chunk"), plural(load.requests, "request"), size(load.bytes), load.pace)
        for load in loads
    ]
    parts = [f"{run.mapping}: {state} (run {run.run})", *equations(run), "\n".join(table(rows, "<>>><"))]
    parts += [f"{load.name}: {load.warning}" for load in loads if load.warning is not None]
    if run.reasons:

        def example(destination: str, reason: str) -> str | None:
            found = examples.get((destination, reason))
            return None if found is None else f"e.g. {found.words()}"

        parts.append(rejections(run, example))
    return "\n\n".join(parts)
