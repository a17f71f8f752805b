"""A load of millions of events: all arrive, and memory depends on the frame, not on the source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.attack.watched import Growth, watch
from tests.bench.race import make, mapping_for, sink

MOST_MEGABYTES = 600


def load(folder: Path, rows: int, say: Callable[[str], object], most_growth: float = 1.25) -> dict[str, float]:
    """Load `rows` events from a CSV file into a sink on this machine; what was measured.

    Raises Growth where the second half of it needs more memory than the first, `most_growth` times as much.
    """
    data, state = folder / "events.csv", folder / "state"
    make(data, rows)
    with sink() as to:
        mapping = mapping_for("batch", data, to, folder)
        code, _, samples = watch(["run", str(mapping), "--state", str(state), "--quiet"], state, 0.1, say)
        counts = to.counts()
    assert code == 0
    assert counts["events"] == rows, f"{counts['events']:,} of {rows:,} events arrived"
    memory = [sample.megabytes for sample in samples]
    early, late = max(memory[: len(memory) // 2]), max(memory[len(memory) // 2 :])
    if late > early * most_growth or late > MOST_MEGABYTES:
        raise Growth(f"{early:.0f} MB in the first half, {late:.0f} MB in the second")
    seconds = samples[-1].seconds
    return {"rows": rows, "seconds": seconds, "events/s": rows / seconds, "MB early": early, "MB late": late}
