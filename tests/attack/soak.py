"""A long delivery at the providers' rates, with faults: nothing is lost, and the process does not grow."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.attack import books
from tests.attack.watched import no_growth, watch
from tests.support.project import Project, arrived, numbered, simple_mapping
from tests.support.routes import WAYS, destination
from tests.support.sandbox import sandbox

# Appizer takes 100 requests a minute of 100 events, Bloomreach 6000 of these few.
EVENTS_PER_MINUTE = 10_000
COMMANDS = 2
# Each of them but the last makes its destination pause.
_FAULTS: list[dict[str, Any]] = [
    {"kind": "429", "probability": 0.002, "retry_after": 1, "seed": 1},
    {"kind": "500", "probability": 0.002, "seed": 2},
    {"kind": "503", "probability": 0.002, "seed": 3},
    {"kind": "lost_answer", "probability": 0.002, "seed": 4},
    {"kind": "truncated", "probability": 0.001, "seed": 5},
    {"kind": "reset_before", "probability": 0.001, "seed": 6},
    {"kind": "502_html", "probability": 0.001, "seed": 7},
    {"kind": "never", "probability": 0.00025, "seed": 8},
    {"kind": "partial", "probability": 0.002, "share": 0.1, "seed": 9},
    {"kind": "slow", "probability": 0.05, "seconds": 0.2, "seed": 10},
]


def soak(
    folder: Path, minutes: float, say: Callable[[str], object], every: float = 1.0, tolerance: float = 0.1
) -> dict[str, Any]:
    """Deliver for about so many minutes; what was measured, early and late. Raises Growth, see `no_growth`."""
    project, rows = Project(folder), round(EVENTS_PER_MINUTE * minutes)
    path = project.csv(numbered(rows, users=997))
    with sandbox() as stand_in:
        appizer, bloomreach = WAYS[2], WAYS[3]
        stand_in.faults(_FAULTS)
        project.mapping(
            simple_mapping(
                destination(appizer, stand_in, timeout="5s", rate=None),
                destination(bloomreach, stand_in, timeout="5s", chunk=COMMANDS),
            )
        )
        state = folder / ".loader"
        code, printed, samples = watch(["run", str(project.mapping_path), "--json", "--quiet"], state, every, say)
        got = {name: Counter(arrived(stand_in.received(name))) for name in ("appizer", "bloomreach")}
        faults = stand_in.state()["faults"]
    assert code in (0, 3, 7), f"exit {code}"
    result = json.loads(printed)
    with path.open(newline="", encoding="utf-8") as file:
        expected = {int(row["number"]) for row in csv.DictReader(file)}
    found = books.read(state / "load")
    assert found is not None
    found.totals()
    for name, counts in got.items():
        refused = {r["row"] for r in found.refusals if r["destination"] == name}
        left = [c for c in found.chunks if (c["destination"], c["status"]) == (name, "in_doubt")]
        doubted = {row for chunk in left for row in found.rows_of(chunk)}
        assert expected - counts.keys() <= refused | doubted, f"{name}: lost"
        assert max(counts.values()) == 1, f"{name}: doubled"
        assert not refused & counts.keys() - doubted, f"{name}: refused, but arrived"
    return {
        "seconds": round(samples[-1].seconds),
        "faults": faults,
        "events": {to["name"]: to["events"] for to in result["destinations"]},
        "requests": {to["name"]: to["requests"] for to in result["destinations"]},
        "early and late": no_growth(samples, tolerance),
    }
