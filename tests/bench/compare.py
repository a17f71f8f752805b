"""All works of the race: the input made, the laps run, and each target met or not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.bench.peers import PEERS
from tests.bench.race import ROOT, Lap, make, middle, race, racers, ratio, sink, workplace
from tests.bench.works import Work

FULL = 1_000_000
Say = Callable[[str], None]


@dataclass(frozen=True)
class Verdict:
    """A target, what was found (None: not measured), and whether that is enough."""

    target: str
    found: float | None
    met: bool | None
    unit: str = "×"


@dataclass(frozen=True)
class Outcome:
    """What came of a work. `left_out`: who did not take part, and why."""

    work: Work
    rows: int
    laps: dict[str, list[Lap]]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The work in words."""
        far = f", each answer {self.work.delay * 1000:g} ms away" if self.work.delay else ""
        lanes = f", {self.work.connections} connections" if self.work.connections else ""
        return f"{self.rows:,} rows, {self.work.source} to {self.work.provider}{far}{lanes}"

    def verdicts(self) -> Iterator[Verdict]:
        """Each target of the work; missed where the loader did not do it at all."""
        if "loader" not in self.laps:
            yield Verdict(f"{self.work.name}: all of them", None, False)
            return
        for target in self.work.targets:
            words = f"{self.work.name}: at least {target.ratio:g} × {target.peer} {target.note}".rstrip()
            found = ratio(self.laps, target.peer) if self.laps.get(target.peer) else None
            yield Verdict(words, found, None if found is None else found >= target.ratio)
        loader = middle(self.laps["loader"])
        if self.work.ideal is not None:
            most, share = self.work.ideal
            found = loader.requests / loader.wall / most
            words = f"{self.work.name}: at least {share:.0%} of the ideal {most:g} requests/s"
            yield Verdict(words, found * 100, found >= share, "%")
        if self.work.most_megabytes is not None:
            words = f"{self.work.name}: at most {self.work.most_megabytes} MB"
            yield Verdict(words, loader.peak, loader.peak <= self.work.most_megabytes, " MB")


def compare(
    works: Sequence[Work], rows: int, rounds: int, python: Path, only: Sequence[str] | None, say: Say
) -> Iterator[Outcome]:
    """Run `works` with `rows` rows where 1,000,000 are meant. `python`: that of the peers' own environment. `only`: of
    the peers, just these."""
    for work in works:
        count = max(1, work.rows * rows // FULL)
        if work.source == "postgres" and not os.environ.get("LOADER_TEST_POSTGRES_URL"):
            say(f"{work.name} is left out: LOADER_TEST_POSTGRES_URL names no PostgreSQL")
            continue
        peers, left_out = _taking_part(work, python, only)
        for name, why in left_out.items():
            say(f"{work.name}: {name} is left out: {why}")
        with workplace() as folder, _source(work, count, folder) as source, sink("--delay", str(work.delay)) as to:
            runners = racers(work, source, to, folder, peers, str(python))
            laps = race(runners, count, rounds, partial(_said, say, work.name))
        left_out |= {name: "it did not do its work" for name in peers if name not in laps}
        yield Outcome(work, count, laps, left_out)


def _said(say: Say, name: str, words: str) -> None:
    say(f"{name}: {words}")


def _taking_part(work: Work, python: Path, only: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    taking, left_out = [], {}
    for peer in PEERS:
        if peer.name not in work.peers or (only is not None and peer.name not in only):
            continue
        missing = peer.missing(str(python)) if peer.needs else []
        if missing:
            left_out[peer.name] = f"{', '.join(missing)} not installed (`python -m tests.bench peers` does that)"
        elif not peer.can(work.source, work.provider):
            left_out[peer.name] = peer.because
        else:
            taking.append(peer.name)
    return taking, left_out


@contextmanager
def _source(work: Work, rows: int, folder: Path) -> Iterator[str]:
    """The input of a work; see `peers`."""
    path = folder / ("events.parquet" if work.source == "parquet" else "events.csv")
    make(str(path), rows)
    if work.source != "postgres":
        yield str(path)
        return
    url = os.environ["LOADER_TEST_POSTGRES_URL"]
    table = f"bench_{os.getpid()}"
    try:
        make(f"{url}#{table}", rows, path)
        yield f"{url}#{table}"
    finally:
        subprocess.run([sys.executable, "-c", _DROP, url, table], check=True)


# In another process, see `race.make`.
_DROP = """\
import sys, psycopg
with psycopg.connect(sys.argv[1]) as connection:
    connection.execute(f"DROP TABLE IF EXISTS {sys.argv[2]}")
"""


def install_peers(folder: Path) -> None:
    """Make the peers' environment: the extra `bench` of pyproject.toml."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(folder / "bin" / "pip"), "install", "--quiet", f"{ROOT}[bench]"], check=True)
