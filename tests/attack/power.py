"""The power fails: what a load promises after `kill -9` holds when all that was not synced is lost as well."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner

from loader.cli import main
from tests.attack import books
from tests.attack.disk import Asked, Disk, compiled, read_log
from tests.support.project import Project, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox

CHUNK = 10
CONCURRENCY = 4
# What happened before the power failed: a command with its options, and where it was killed.
Story = list[tuple[str, str, int]]
STORIES: dict[str, Story] = {
    "killed": [("run", "answered", 5), ("run", "never", 0)],
    "planned anew": [
        ("plan", "never", 0),
        ("plan", "never", 0),
        ("cancel --yes", "never", 0),
        ("run --stop-after 65", "never", 0),
        ("run", "never", 0),
    ],
}
_NUMBER = re.compile(rb'"number":\s*(\d+)')


class Outage:
    """A load to Batch in `folder`, whose disk is logged. Chunks in doubt are held, so that nothing may arrive twice."""

    def __init__(self, folder: Path, stand_in: RunningSandbox, rows: int) -> None:
        self.rows, self.stand_in = rows, stand_in
        self._folder, self.disk = folder, folder / "disk"
        self._environment = compiled(folder)
        self.disk.mkdir()
        self.project = Project(folder)
        self.project.csv(numbered(rows))
        to = credentials("batch", stand_in.url)
        self.project.mapping(simple_mapping({**to, "chunk": CHUNK, "concurrency": CONCURRENCY}))
        stand_in.faults([{"kind": "slow", "probability": 0.5, "seconds": 0.02}])

    def command(self, point: str, nth: int, name: str, *arguments: str) -> int:
        """A command whose disk is logged, killed at a point of `dying.POINTS` or never."""
        own = [name, str(self.project.mapping_path), *arguments, "--state", str(self.disk)]
        with self.project.start(point, str(nth), *own, module="tests.attack.dying", env=self._environment) as process:
            _, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        return process.returncode

    def lived(self, story: Story) -> list[Asked]:
        """Let a story happen; the log."""
        for command, point, nth in story:
            assert self.command(point, nth, *command.split()) in (0, 7, -signal.SIGKILL)
        self.check_log()
        return self.log()

    def log(self) -> list[Asked]:
        """What was asked of the disk so far."""
        return list(read_log(self._folder / "log"))

    def check_log(self) -> None:
        """The log is complete: what it says that the disk holds, the disk holds."""
        disk = Disk(self.disk)
        for asked in self.log():
            disk.told(asked)
        told = self._folder / "told"
        disk.now(told)
        assert _contents(told) == _contents(self.disk)

    def after_the_outage(self, *arguments: str) -> int:
        """A command on what the disk holds now; its exit code."""
        command = [arguments[0], str(self.project.mapping_path), *arguments[1:], "--state", str(self.disk)]
        result = CliRunner().invoke(main, command, prog_name="loader")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code

    def state(self) -> books.Books | None:
        """The books on the disk as it is now."""
        return books.read(self.disk / "load")

    def fail_at(self, log: list[Asked], cut: int, chance: random.Random | None) -> None:
        """Let the power fail after `cut` records, go on, and check that nothing is lost or doubled.

        Without `chance`, all is lost that was not synced; with it, some of that.
        """
        disk = Disk(self.disk)
        for asked in log[:cut]:
            disk.told(asked)
        if chance is None:
            disk.least(self.disk)
        else:
            disk.torn(self.disk, chance)
        left_before = {number for asked in log[:cut] for number in numbers(asked)}
        everything = set(range(1, self.rows + 1))

        self.stand_in.reset()
        assert self.after_the_outage("run") in (0, 7)
        again = self._arrived()
        assert len(again) == len(set(again)), "sent twice after the power came back"
        doubled = left_before & set(again)
        assert not doubled, f"had left already, and was sent again: {sorted(doubled)}"
        found = self.state()
        assert found is not None
        found.totals()
        lost = found.sent_rows() - left_before - set(again)
        assert not lost, f"counted as sent, but never left: {sorted(lost)}"
        in_doubt = {row for chunk in found.chunks if chunk["status"] == "in_doubt" for row in found.rows_of(chunk)}
        # What was in flight at the kill and at the outage.
        assert len(in_doubt) <= 2 * CONCURRENCY * CHUNK
        assert found.sent_rows() | in_doubt == everything
        if in_doubt:
            assert self.after_the_outage("resolve", "--resend") == 0
            assert self.after_the_outage("run") == 0
        assert left_before | set(self._arrived()) == everything

    def _arrived(self) -> list[int]:
        return [line["event"]["attributes"]["number"] for line in self.stand_in.received("batch")]


def numbers(asked: Asked) -> set[int]:
    """The numbers of the events in what was sent."""
    return {int(number) for number in _NUMBER.findall(asked.data)} if asked.what == "s" else set()


def least_at(log: list[Asked], root: Path, folder: Path, at: Iterator[int] | list[int]) -> Iterator[tuple[int, Path]]:
    """For each position of the log: what is left at least where the power fails just before it, in `folder`."""
    disk, told = Disk(root), 0
    for position in at:
        for asked in log[told:position]:
            disk.told(asked)
        told = position
        disk.least(folder)
        yield position, folder


def parts_of(folder: Path) -> dict[str, bool]:
    """Each part below the state `folder` → whether it is what its checksum says."""
    found = {}
    for path in sorted(folder.glob("runs/*/batch/*.parquet")):
        checksum = path.with_suffix(".sha256")
        written = hashlib.sha256(path.read_bytes()).hexdigest()
        found[path.name] = checksum.exists() and checksum.read_text().startswith(written)
    return found


def _contents(folder: Path) -> dict[str, bytes]:
    """The files below `folder`, without second names of other files and without what SQLite maps."""
    found = {}
    for base, _, files in os.walk(folder):
        for name in files:
            path = Path(base, name)
            if path.stat().st_nlink == 1 and not name.endswith("-shm"):
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found
