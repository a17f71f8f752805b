"""Figures for people and for machines."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from tests.bench.compare import Outcome, Verdict
from tests.bench.race import middle


def machine() -> str:
    """What the figures depend on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("polars", "httpx", "pyreqwest"))
    return f"CPython {platform.python_version()}, {packages}, {os.cpu_count()} processors"


def lines_of(outcome: Outcome) -> Iterator[str]:
    """A table of who took how long."""
    rounds = max(map(len, outcome.laps.values()), default=0)
    yield f"\n{outcome.work.name}: {outcome.title}; medians of {rounds}, each process from start to end\n"
    yield "|           | seconds | events/s | requests/s | µs CPU/event | most MB | loader is × |"
    yield "| --------- | ------: | -------: | ---------: | -----------: | ------: | ----------: |"
    loader = middle(outcome.laps["loader"]) if "loader" in outcome.laps else None
    for name, laps in outcome.laps.items():
        lap = middle(laps)
        times = "" if name == "loader" or loader is None else f"{lap.wall / loader.wall:.2f}"
        yield (
            f"| {name:9} | {lap.wall:7.2f} | {outcome.rows / lap.wall:8,.0f} | {lap.requests / lap.wall:10,.0f} | "
            f"{lap.cpu / outcome.rows * 1e6:12.1f} | {lap.peak:7.0f} | {times:>11} |"
        )
    for name, why in outcome.left_out.items():
        yield f"| {name:9} | left out: {why} |"


def lines_of_verdicts(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """A table of what is met."""
    yield "\n| target | found | |"
    yield "| ------ | ----: | - |"
    for verdict in verdicts:
        found = "not measured" if verdict.found is None else f"{verdict.found:,.2f}{verdict.unit}"
        yield f"| {verdict.target} | {found} | {_WORDS[verdict.met]} |"


_WORDS = {True: "met", False: "NOT MET", None: ""}


def as_json(outcomes: Sequence[Outcome], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The same and each lap, for machines."""
    works = [
        {
            "name": outcome.work.name,
            "rows": outcome.rows,
            "laps": {name: [asdict(lap) for lap in laps] for name, laps in outcome.laps.items()},
            "left_out": outcome.left_out,
        }
        for outcome in outcomes
    ]
    return {"machine": machine(), "works": works, "targets": [asdict(verdict) for verdict in verdicts]}
