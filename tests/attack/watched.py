"""What a process holds while it works, sampled from /proc: memory, open files, sockets, and what its state takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tests.support.project import ENVIRONMENT, ROOT

# Growth that is noise: a frame more or less, a socket that is being closed.
_ROOM = {"megabytes": 25.0, "open_files": 8.0, "sockets": 8.0, "state_files": 2.0, "journal_megabytes": 8.0}


@dataclass(frozen=True)
class Sample:
    """One moment of a process. `journal_megabytes`: of what SQLite writes ahead."""

    seconds: float
    megabytes: float
    open_files: float
    sockets: float
    state_files: float
    journal_megabytes: float


class Growth(AssertionError):
    """A process holds more and more."""


def watch(
    arguments: Sequence[str], state: Path, every: float, say: Callable[[str], object]
) -> tuple[int, str, list[Sample]]:
    """Run `loader` with these arguments: exit code, what it printed, and a sample every so many seconds."""
    samples, began, said = [], time.monotonic(), 0.0
    command = [sys.executable, "-m", "loader", *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            now = _sample(process.pid, state, time.monotonic() - began)
            if now is not None:
                samples.append(now)
            if now is not None and now.seconds - said >= 30:
                said = now.seconds
                say(json.dumps({name: round(value, 1) for name, value in asdict(now).items()}))
            time.sleep(every)
        assert process.stdout is not None
        return process.returncode, process.stdout.read(), samples


def _sample(pid: int, state: Path, seconds: float) -> Sample | None:
    try:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        targets = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
        files = [path for path in state.rglob("*") if path.is_file()]
        journal = sum(path.stat().st_size for path in files if path.name.endswith("-wal")) / 1e6
    except OSError:
        # It has ended, or a file has gone while it was looked at.
        return None
    sockets = sum(target.startswith("socket:") for target in targets)
    return Sample(seconds, resident, len(targets), sockets, len(files), journal)


def no_growth(samples: list[Sample], tolerance: float = 0.1) -> dict[str, tuple[float, float]]:
    """The median of the second quarter and of the last, by name. Raises Growth where the last is higher by more than
    `tolerance` and some room."""
    quarter = max(1, len(samples) // 4)
    found = {}
    for name, room in _ROOM.items():
        early, late = (
            median(getattr(sample, name) for sample in part)
            for part in (samples[quarter : 2 * quarter] or samples, samples[-quarter:])
        )
        found[name] = round(early, 1), round(late, 1)
        if late > early * (1 + tolerance) + room:
            raise Growth(f"{name} grew from {early:.1f} to {late:.1f} over {samples[-1].seconds:.0f} s")
    return found
