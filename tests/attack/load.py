"""A load of millions of events: all arrive, and memory depends on the frame and the part, not on the source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.attack.watched import Growth, Sample, watch
from tests.bench.race import make, sink
from tests.bench.works import WORKS, write_mapping

MOST_MEGABYTES = 600


def load(folder: Path, rows: int, say: Callable[[str], object], most_growth: float = 1.15) -> dict[str, float]:
    """Load `rows` events from a CSV file into a sink on this machine; what was measured.

    Raises Growth where the second half of planning, or of sending, needs `most_growth` times the memory of the first.
    """
    data, state = folder / "events.csv", folder / "state"
    make(str(data), rows)
    with sink() as to:
        mapping = write_mapping(WORKS[0], str(data), to.url, folder)
        code, _, samples = watch(["run", str(mapping), "--state", str(state), "--quiet"], state, 0.1, say)
        counts = to.counts()
    assert code == 0
    assert counts.events == rows, f"{counts.events:,} of {rows:,} events arrived"
    # The plan's last file is there when sending begins.
    files = [sample.state_files for sample in samples]
    sending = files.index(max(files))
    seconds = samples[-1].seconds
    measured = {"rows": rows, "seconds": seconds, "events/s": rows / seconds}
    for name, part in (("planning", samples[:sending]), ("sending", samples[sending:])):
        early, late = _most(part[: len(part) // 2 + 1]), _most(part[len(part) // 2 :])
        if late > early * most_growth or late > MOST_MEGABYTES:
            raise Growth(f"{name}: {early:.0f} MB in the first half, {late:.0f} MB in the second")
        measured |= {f"MB {name}, first half": early, f"MB {name}, second half": late}
    return measured


def _most(samples: list[Sample]) -> float:
    return max(sample.megabytes for sample in samples)
