"""What has to stay the same as there are more rows, or nothing to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from tests.bench.compare import Verdict
from tests.bench.race import Lap, Sink, make, middle, race, racers, run, sink, workplace
from tests.bench.works import WORKS, write_mapping

MOST_TIMES_LONGER = 10.5
MOST_MORE_MEMORY = 1.10
RESUME_SECONDS = 2.0
NOTHING_NEW_SECONDS = 1.0
HELP_SECONDS = 0.15
_WORK = WORKS[0]


def growth(rows: int, say: Callable[[str], None]) -> Iterator[Verdict]:
    """`rows` and ten times as many, to Batch; going on at 90 %; the larger file once more; `loader --help`."""
    with workplace() as folder, sink() as to:
        small, large = (folder / name for name in ("small.csv", "large.csv"))
        say(f"growth: {rows:,} and {rows * 10:,} rows")
        make(str(small), rows)
        make(str(large), rows * 10)
        yield from ten_times(small, large, rows, to, folder, rounds=2)
        say("growth: a resume, and nothing new")
        yield resumed(small, rows, to, folder)
        yield nothing_new(large, to, folder)
        yield helped(to)


def ten_times(small: Path, large: Path, rows: int, to: Sink, folder: Path, rounds: int) -> Iterator[Verdict]:
    """Ten times the rows against `rows` of them, in turns."""
    laps: dict[Path, list[Lap]] = {small: [], large: []}
    for _ in range(rounds):
        for path, count in ((small, rows), (large, rows * 10)):
            laps[path] += race(racers(_WORK, str(path), to, folder, ()), count, 1)["loader"]
    one, ten = middle(laps[small]), middle(laps[large])
    times, more = ten.wall / one.wall, ten.peak / one.peak
    yield Verdict(
        f"{rows * 10:,} rows, time: at most {MOST_TIMES_LONGER} × that of {rows:,}", times, times <= MOST_TIMES_LONGER
    )
    words = f"{rows * 10:,} rows, memory: at most {MOST_MORE_MEMORY} × the {one.peak:.0f} MB of {rows:,}"
    yield Verdict(words, more, more <= MOST_MORE_MEMORY)


def resumed(path: Path, rows: int, to: Sink, folder: Path) -> Verdict:
    """A run that was paused at 90 % goes on: the seconds to its first request."""
    mapping, state = write_mapping(_WORK, str(path), to.url, folder), folder / "state"
    shutil.rmtree(state, ignore_errors=True)
    command = ["-m", "loader", "run", str(mapping), "--state", str(state), "--quiet"]
    run([*command, "--stop-after", str(rows * 9 // 10)], to)
    lap = run(command, to)
    assert lap.events == rows - rows * 9 // 10, lap
    words = f"a resume at 90 % of {rows:,}: sends within {RESUME_SECONDS:g} s"
    return Verdict(words, lap.first, lap.first <= RESUME_SECONDS, " s")


def nothing_new(path: Path, to: Sink, folder: Path) -> Verdict:
    """A file that was loaded, and is as it was, once more: the seconds of the whole process."""
    mapping, state = write_mapping(_WORK, str(path), to.url, folder), folder / "state"
    shutil.rmtree(state, ignore_errors=True)
    command = ["-m", "loader", "run", str(mapping), "--state", str(state), "--quiet"]
    run(command, to)
    laps = [run(command, to) for _ in range(3)]
    assert not any(lap.events for lap in laps), laps
    found = median(lap.wall for lap in laps)
    words = f"nothing new in a file of {path.stat().st_size / 1e9:.2f} GB: within {NOTHING_NEW_SECONDS:g} s"
    return Verdict(words, found, found <= NOTHING_NEW_SECONDS, " s")


def helped(to: Sink) -> Verdict:
    """`loader --help`: the seconds of the whole process."""
    found = median(run(["-m", "loader", "--help"], to).wall for _ in range(7))
    return Verdict(f"loader --help: within {HELP_SECONDS * 1000:g} ms", found * 1000, found <= HELP_SECONDS, " ms")
