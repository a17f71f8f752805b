"""The race itself: the loader and the script, one after the other, round after round, against one sink."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_ROOT = Path(__file__).parents[2]

_MAPPING = """\
source: {{type: csv, path: {path}}}
timezone: UTC
event:
  user: user_id
  name: event
  time: occurred_at
  properties:
    product: product
    amount: CAST(amount AS DOUBLE)
    quantity: CAST(quantity AS BIGINT)
    channel: channel
    ordered_at: {{expr: ordered_at, as: datetime}}
"""

# Batch has a field for the label and one for the tags; to Bloomreach they are properties. The rate is out of the way.
_OWN = {
    "batch": """\
  label: label
  tags: STRING_TO_ARRAY(tags, '|')
destinations:
  - {{provider: batch, api_key: key, rest_api_key: rest-key, base_url: "{url}"}}
""",
    "bloomreach": """\
    label: label
    tags: STRING_TO_ARRAY(tags, '|')
destinations:
  - {{provider: bloomreach, project_token: project, api_token: token, base_url: "{url}", rate: 1000000/s}}
""",
}


@dataclass(frozen=True)
class Sink:
    """A sink that listens at `url`."""

    url: str

    def counts(self) -> dict[str, int]:
        """Requests, bytes of bodies and events since the last call."""
        with urllib.request.urlopen(f"{self.url}/counts") as answer:
            found: dict[str, int] = json.load(answer)
            return found


@contextlib.contextmanager
def sink(*options: str) -> Iterator[Sink]:
    """A sink in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.sink", *options]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Sink(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.terminate()


@dataclass(frozen=True)
class Lap:
    """One process from start to end: wall and processor seconds, the most memory in MB, and what the sink got."""

    wall: float
    cpu: float
    peak: float
    requests: int
    events: int


Racer = Callable[[], Lap]


def make(path: Path, rows: int) -> None:
    """Write the input. In another process: a child's peak memory counts from that of the process that starts it."""
    subprocess.run([sys.executable, "-m", "tests.bench.data", str(path), str(rows)], cwd=_ROOT, check=True)


def mapping_for(provider: str, data: Path, to: Sink, folder: Path) -> Path:
    """A mapping file in `folder` that sends `data` to the sink."""
    mapping = folder / f"{provider}.yaml"
    mapping.write_text((_MAPPING + _OWN[provider]).format(path=data, url=to.url), encoding="utf-8")
    return mapping


def racers(provider: str, data: Path, to: Sink, folder: Path) -> dict[str, Racer]:
    """The loader and the script, ready to send `data` to the sink. `folder`: for the mapping and the loader's state."""
    mapping = mapping_for(provider, data, to, folder)
    state = folder / "state"

    def loader() -> Lap:
        # Whatever one load leaves behind must not help the next.
        shutil.rmtree(state, ignore_errors=True)
        return _lap(["-m", "loader", "run", str(mapping), "--state", str(state), "--quiet"], to)

    def script() -> Lap:
        return _lap(["-m", "tests.bench.script", provider, str(data), to.url], to)

    return {"loader": loader, "script": script}


def _lap(arguments: list[str], to: Sink) -> Lap:
    began = time.perf_counter()
    # Not with subprocess: only wait4 tells what this one child used.
    child = os.posix_spawn(sys.executable, [sys.executable, *arguments], {**os.environ, "PYTHONPATH": str(_ROOT)})
    _, status, used = os.wait4(child, 0)
    wall = time.perf_counter() - began
    if status:
        raise SystemExit(f"{' '.join(arguments)} ended with exit code {os.waitstatus_to_exitcode(status)}")
    counts = to.counts()
    return Lap(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, counts["requests"], counts["events"])


def race(runners: dict[str, Racer], rows: int, rounds: int) -> dict[str, list[Lap]]:
    """The laps of each, taken in turns, so that what else the machine does strikes all alike."""
    laps: dict[str, list[Lap]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, run in runners.items():
            lap = run()
            if lap.events != rows:
                raise SystemExit(f"the {name} sent {lap.events:,} events of {rows:,}")
            laps[name].append(lap)
    return laps


def middle(laps: list[Lap]) -> Lap:
    """The median of each figure."""
    return Lap(
        median(lap.wall for lap in laps),
        median(lap.cpu for lap in laps),
        max(lap.peak for lap in laps),
        laps[0].requests,
        laps[0].events,
    )


def ratio(laps: dict[str, list[Lap]]) -> float:
    """How many times as many events a second the loader does: the median over the rounds."""
    pairs = zip(laps["script"], laps["loader"], strict=True)
    return median(script.wall / loader.wall for script, loader in pairs)


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)
