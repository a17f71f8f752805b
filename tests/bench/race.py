"""The race itself: the loader and its peers, one after the other, round after round, against one sink."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tests.bench.peers import PEERS
from tests.bench.works import Work, write_mapping

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Counts:
    """What a sink got since it was last asked. `first`: when the first request came (`time.time()`)."""

    requests: int
    bytes: int
    events: int
    first: float


@dataclass(frozen=True)
class Sink:
    """A sink that listens at `url`."""

    url: str

    def counts(self) -> Counts:
        """What came since the last call."""
        with urllib.request.urlopen(f"{self.url}/counts") as answer:
            return Counts(**json.load(answer))


@contextlib.contextmanager
def sink(*options: str) -> Iterator[Sink]:
    """A sink in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.sink", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Sink(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.terminate()


@dataclass(frozen=True)
class Lap:
    """One process and its children from start to end: wall and processor seconds, the most memory in MB, seconds until
    its first request, and what the sink got."""

    wall: float
    cpu: float
    peak: float
    first: float
    requests: int
    events: int


Racer = Callable[[], Lap]


class RaceError(Exception):
    """Somebody did not do its work; no figure of it would mean anything."""


def run(
    arguments: Sequence[str],
    to: Sink,
    python: str = sys.executable,
    ends: tuple[int, ...] = (0,),
    environment: Iterable[tuple[str, str]] = (),
) -> Lap:
    """Run `python arguments`, and measure it. Raises RaceError where its exit code is not one of `ends`."""
    to.counts()
    with tempfile.TemporaryFile() as said:
        started, began = time.time(), time.perf_counter()
        # Not with subprocess: only wait4 tells what this one child and the children of it used.
        child = os.posix_spawn(
            python,
            [python, *arguments],
            {**_environment(), **dict(environment)},
            file_actions=[(os.POSIX_SPAWN_DUP2, said.fileno(), 1), (os.POSIX_SPAWN_DUP2, said.fileno(), 2)],
        )
        with _watching(child) as most:
            _, status, used = os.wait4(child, 0)
        wall = time.perf_counter() - began
        said.seek(0)
        if (code := os.waitstatus_to_exitcode(status)) not in ends:
            words = said.read().decode(errors="replace")[-2000:]
            raise RaceError(f"{' '.join(arguments)} ended with exit code {code}: {words}")
    counts = to.counts()
    first = max(0.0, counts.first - started) if counts.requests else wall
    peak = max(used.ru_maxrss / 1024, *most)
    return Lap(wall, used.ru_utime + used.ru_stime, peak, first, counts.requests, counts.events)


def _environment() -> dict[str, str]:
    # What is installed has its bytecode; without, each lap would begin with compiling the loader.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def _watching(process: int) -> Iterator[list[float]]:
    """The memory of a process with children, in MB, ten times a second. The kernel knows the peak of a single one."""
    sums, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            family = _family(process)
            if len(family) > 1:
                sums.append(sum(map(_megabytes, family)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sums
    finally:
        done.set()
        thread.join()


def _family(process: int) -> list[int]:
    found = [process]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _megabytes(process: int) -> float:
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


def make(source: str, rows: int, copied_from: Path | None = None) -> None:
    """Write the input. In another process: a child's peak memory counts from that of the process that starts it."""
    more = [] if copied_from is None else [str(copied_from)]
    subprocess.run([sys.executable, "-m", "tests.bench.data", source, str(rows), *more], cwd=ROOT, check=True)


def make_bodies(provider: str, source: Path, to: Path) -> None:
    """Write what `limit` posts."""
    command = [sys.executable, "-m", "tests.bench.peers.limit", "make", provider, str(source), str(to)]
    subprocess.run(command, cwd=ROOT, check=True)


def racers(
    work: Work, source: str, to: Sink, folder: Path, peers: Sequence[str], python: str = sys.executable
) -> dict[str, Racer]:
    """The loader and `peers`, ready to send `source` to the sink. `folder`: for the mapping, the loader's state and the
    prepared bodies. `python`: of peers that need more than the loader's tests."""
    mapping = write_mapping(work, source, to.url, folder)
    state, bodies = folder / "state", folder / "prepared"

    def loader() -> Lap:
        # Whatever one load leaves behind must not help the next.
        shutil.rmtree(state, ignore_errors=True)
        command = ["-m", "loader", "run", str(mapping), "--state", str(state), "--quiet"]
        return run(command, to, environment=work.environment)

    def peer(name: str, module: str, needs: tuple[str, ...]) -> Racer:
        arguments = ["-m", f"tests.bench.peers.{module}", work.provider, source, to.url]
        if name == "limit":
            arguments[3] = str(bodies)
        elif name.startswith("dlt-"):
            arguments.append(name.removeprefix("dlt-"))
        return lambda: run(arguments, to, python if needs else sys.executable)

    if "limit" in peers:
        make_bodies(work.provider, Path(source), bodies)
    by_name = {each.name: each for each in PEERS}
    chosen = [by_name[name] for name in peers]
    return {"loader": loader, **{each.name: peer(each.name, each.module, each.needs) for each in chosen}}


def race(
    runners: dict[str, Racer], rows: int, rounds: int, say: Callable[[str], None] = lambda _: None
) -> dict[str, list[Lap]]:
    """The laps of each, taken in turns, so that what else the machine does strikes all alike.

    Who sends more events or fewer than there are rows, or fails, is out, and `say` is told.
    """
    laps: dict[str, list[Lap]] = {name: [] for name in runners}
    for number in range(rounds):
        for name in list(laps):
            say(f"round {number + 1} of {rounds}: {name}")
            try:
                lap = runners[name]()
                if lap.events != rows:
                    raise RaceError(f"the {name} sent {lap.events:,} events of {rows:,}")
            except RaceError as error:
                say(f"{name} is out: {error}")
                del laps[name]
            else:
                laps[name].append(lap)
    return laps


def middle(laps: list[Lap]) -> Lap:
    """The median of each figure; of memory the most."""
    figures = {name: median(asdict(lap)[name] for lap in laps) for name in ("wall", "cpu", "first")}
    return Lap(**figures, peak=max(lap.peak for lap in laps), requests=laps[0].requests, events=laps[0].events)


def ratio(laps: dict[str, list[Lap]], peer: str = "script") -> float:
    """How many times as many events a second the loader does: the median over the rounds."""
    return median(other.wall / loader.wall for other, loader in zip(laps[peer], laps["loader"], strict=True))


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)
