"""Where the time goes: the stages of a load, which overlap otherwise, one after the other, so as to measure each.

The processor seconds are those of all threads. Between two stages all frames are in memory, which a load never does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from loader.checkpoint import Checkpoint
from loader.mapping import Bound, Mapping, bind, read
from loader.pipeline import _targets  # what `run` makes of the mapping
from loader.plan import Planner, audit, encode, open_part
from loader.sending import deliver_run
from loader.sending.journal import Journal
from loader.sources import find_files, open_source
from loader.state import run_folder
from tests.bench.race import make, sink, workplace
from tests.bench.works import WORKS, write_mapping

_RUN = "20260101T000000.000-000000"


class Stages:
    """Wall and processor seconds by stage."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[float, float]] = {"start": (0.0, time.process_time())}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What the block takes."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.found[name] = time.perf_counter() - wall, time.process_time() - cpu

    def table(self, rows: int) -> Iterator[str]:
        """As Markdown."""
        yield "| stage | wall s | CPU s | µs CPU/event |"
        yield "| ----- | -----: | ----: | -----------: |"
        for name, (wall, cpu) in self.found.items():
            yield f"| {name} | {wall:.2f} | {cpu:.2f} | {cpu / rows * 1e6:.2f} |"
        total = sum(cpu for _, cpu in self.found.values())
        yield f"| together |  | {total:.2f} | {total / rows * 1e6:.2f} |"


def profile(rows: int) -> None:
    """Print the stages of `rows` rows of CSV to Batch."""
    stages = Stages()
    with workplace() as folder, sink() as to:
        data = folder / "events.csv"
        make(str(data), rows)
        mapping = read(write_mapping(WORKS[0], str(data), to.url, folder))
        checkpoint = Checkpoint.open(folder, mapping.name)
        _plan(stages, mapping, checkpoint, folder)
        _send(stages, mapping, checkpoint, folder)
        assert to.counts().events == rows
    print("\n".join(stages.table(rows)))


def _plan(stages: Stages, mapping: Mapping, checkpoint: Checkpoint, folder: Path) -> None:
    files = find_files(mapping.source, folder / "copies")
    source = open_source(mapping.source, files, timezone=mapping.timezone, cursor=None, used=mapping.used_columns())
    bound = bind(mapping, source.columns)
    with stages.stage("read"):
        frames = list(source.frames(files))
    with stages.stage("map"):
        mapped = [(frame, *_mapped(bound, frame.rows)) for frame in frames]
    with stages.stage("check and encode"):
        _encode(bound, [events for *_, events in mapped])
    with checkpoint.writing() as transaction, stages.stage("stage"):
        planner = Planner(
            _RUN, run_folder(folder, _RUN), bound.destinations, transaction, again=False, digest=False, keep_rows=False
        )
        with planner:
            for frame, kept, events in mapped:
                planner.count(frame, kept)
                planner.add(kept.rows, events, set())
            planner.finish()
        planner.commit(mapping=mapping.name, mapping_digest=mapping.digest, inputs=files, seconds=0.0)
    # Encoding is a part of it.
    wall, cpu = stages.found["stage"]
    encoding = stages.found["check and encode"]
    stages.found["stage"] = wall - encoding[0], cpu - encoding[1]


def _mapped(bound: Bound, rows: Any) -> tuple[Any, list[Any]]:
    kept = bound.keep(rows)
    return kept, [destination.events(kept.rows) for destination in bound.destinations]


def _encode(bound: Bound, mapped: list[list[Any]]) -> None:
    now = datetime.now(UTC)
    for planned in bound.destinations:
        route, settings = planned.destination.route, planned.destination.settings
        encoded = route.encode(planned.columns)
        for events in mapped:
            encode(events[0].events, encoded, route.window, settings.late_events, now)


class _Silent:
    def advance(self, destination: str, *, sent: int = 0, rejected: int = 0, in_doubt: int = 0) -> None:
        """See `Progress`."""

    def retrying(self, destination: str, seconds: float, message: str, chunk: int) -> None:
        """See `Progress`."""

    def found_rate(self, destination: str, rate: float) -> None:
        """See `Progress`."""


def _send(stages: Stages, mapping: Mapping, checkpoint: Checkpoint, folder: Path) -> None:
    targets = _targets(mapping, checkpoint, _RUN)
    parts = partial(open_part, run_folder(folder, _RUN))
    spent = [0.0, 0.0]
    committed = Journal._commit
    Journal._commit = _timed(committed, spent)  # type: ignore[method-assign]
    with stages.stage("send"):
        error = deliver_run(checkpoint, targets, parts, _Silent(), lambda _: None)
    Journal._commit = committed  # type: ignore[method-assign]
    assert error is None, error
    wall, cpu = stages.found["send"]
    stages.found["send"] = wall, cpu - spent[1]
    stages.found["checkpoint"] = spent[0], spent[1]
    with stages.stage("audit"):
        audit(checkpoint, _RUN, run_folder(folder, _RUN))


def _timed(action: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return action(*arguments)
        finally:
            spent[0] += time.perf_counter() - wall
            spent[1] += time.thread_time() - cpu

    return timed
