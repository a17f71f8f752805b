"""Disks that are full, read-only, damaged, copied or elsewhere: one clear message, nothing lost, it goes on after."""

from __future__ import annotations

import datetime as time_of_day
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loader import pipeline
from loader.plan import staging
from tests.cli.conftest import QuickProject
from tests.support.project import Ended, Project, arrived, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox

STRANGE = "a b'c\"d#e?f%20g&h=été数[x]*"


class Disk:
    """A file system of its own in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, options: str) -> None:
        """Mount it, or change its options."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.folder], check=True, capture_output=True)

    def fill(self, left: int) -> None:
        """Leave only so many bytes."""
        free = os.statvfs(self.folder)
        (self.folder / "filler").write_bytes(b"x" * (free.f_bavail * free.f_frsize - left))

    def free(self) -> None:
        """Undo `fill`."""
        (self.folder / "filler").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 20 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    found = Disk(folder)
    try:
        found.mount("size=20m")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("file systems cannot be mounted here")
    yield found
    subprocess.run(["umount", "-l", folder], check=True)


def batch(stand_in: RunningSandbox, **more: Any) -> dict[str, Any]:
    return simple_mapping({**credentials("batch", stand_in.url), "rate": "100000/s", **more})


def once(ended: Ended, *words: str, code: int = 2) -> None:
    """One message with these words."""
    assert ended.code == code, ended.err
    assert ended.err.count("loader: ") == 1, ended.err
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err


def test_a_disk_that_is_full_from_the_beginning(project: QuickProject, stand_in: RunningSandbox, disk: Disk) -> None:
    project.csv(numbered(100))
    project.mapping(batch(stand_in))
    disk.fill(0)
    state = str(disk.folder)
    once(project.run("--state", state), "No space left")
    disk.free()
    assert project.run("--state", state).destination()["sent"] == 100


def test_a_disk_that_fills_while_planning(project: QuickProject, stand_in: RunningSandbox, disk: Disk) -> None:
    project.csv(numbered(60_000, users=60_000))
    project.mapping(batch(stand_in))
    disk.fill(300_000)
    state = str(disk.folder)
    once(project.run("--state", state), "the disk is full", "run again")
    assert stand_in.requests() == []
    disk.free()
    assert project.run("--state", state, "--stop-after", "10").destination()["sent"] == 10


@pytest.mark.parametrize("left", [0, 40_000, 200_000])
def test_a_disk_that_fills_while_sending(
    project: QuickProject, stand_in: RunningSandbox, disk: Disk, left: int
) -> None:
    rows, state = 4_000, str(disk.folder)
    project.csv(numbered(rows, users=500))
    project.mapping(batch(stand_in, chunk=5, concurrency=2))
    assert project.loader("plan", str(project.mapping_path), "--state", state).code == 0
    disk.fill(left + 4096)
    stopped = project.run("--state", state)
    assert stopped.code in (2, 5), stopped.err
    assert "Traceback" not in stopped.err
    assert "full" in stopped.err or "No space left" in stopped.err
    disk.free()
    ended = project.run("--state", state)
    events = ended.destination()
    assert events["sent"] + events["in_doubt"] == rows
    assert events["in_doubt"] <= 2 * 2 * 5, "only what was in flight"
    numbers = arrived(stand_in.received("batch"))
    assert len(numbers) == len(set(numbers))
    assert events["sent"] <= len(numbers) <= rows


@pytest.mark.parametrize("begun", [False, True])
def test_a_disk_that_is_read_only(project: QuickProject, stand_in: RunningSandbox, disk: Disk, begun: bool) -> None:
    project.csv(numbered(20))
    project.mapping(batch(stand_in))
    state = str(disk.folder)
    if begun:
        # A process of its own: what is open for writing here would not let the disk become read-only.
        assert project.process("run", "load.yaml", "--state", state, "--stop-after", "5").code == 0
    disk.mount("remount,ro")
    once(project.run("--state", state), "Read-only file system")
    for command in ("status", "tokens", "rejects"):
        shown = project.loader(command, str(project.mapping_path), "--state", state)
        assert shown.code == 0 or (shown.code == 2 and shown.err.count("loader: ") == 1), shown.err
    disk.mount("remount,rw")
    ended = project.run("--state", state)
    assert (ended.code, len(stand_in.received("batch"))) == (0, 20)


def test_the_state_of_somebody_else(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(20))
    project.mapping(batch(stand_in))
    project.folder.chmod(0o755)
    assert project.run("--stop-after", "5").code == 0
    commands = (["run"], ["plan"], ["status"], ["tokens"], ["rejects"], ["resolve", "--skip"], ["cancel", "--yes"])
    for command in commands:
        # What a command imports may be out of reach for somebody else.
        project.loader(command[0], "--help")
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    for command in commands:
        os.seteuid(65534)
        try:
            ended = project.loader(command[0], "load.yaml", *command[1:])
        finally:
            os.seteuid(0)
        once(ended, "Permission denied")
    assert project.run().destination()["sent"] == 20


def replace(path: Path, content: bytes) -> None:
    """Write a new file, whatever holds the old one."""
    path.unlink()
    for rest in path.parent.glob("checkpoint.db-*"):
        rest.unlink()
    path.write_bytes(content)


def planned(project: QuickProject, stand_in: RunningSandbox) -> Path:
    """A state with a run that is half sent; its folder. The process has ended, so that the database is one file."""
    project.csv(numbered(300, users=40))
    project.mapping(batch(stand_in, chunk=10))
    assert project.process("run", "load.yaml", "--stop-after", "150").code == 0
    return project.folder / ".loader" / "load"


def test_a_process_that_ended_leaves_one_file(project: QuickProject, stand_in: RunningSandbox) -> None:
    folder = planned(project, stand_in)
    for command in ("status", "tokens", "rejects", "cancel"):
        assert project.process(command, "load.yaml", *(["--yes"] if command == "cancel" else [])).code in (0, 3)
        assert sorted(file.name for file in folder.iterdir() if file.is_file()) == ["checkpoint.db", "lock"], command


def test_a_checkpoint_that_is_cut(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = planned(project, stand_in) / "checkpoint.db"
    whole = path.read_bytes()
    for size in (0, 1, 15, 100, 4095, 4096, 5000, len(whole) // 2, len(whole) - 4096, len(whole) - 1):
        for command in ("run", "plan", "status", "tokens", "rejects"):
            replace(path, whole[:size])
            once(project.loader(command, "load.yaml"), "checkpoint.db", "damaged", "backup")
    assert len(stand_in.received("batch")) == 150
    replace(path, whole)
    assert project.run().destination()["sent"] == 300


def test_bytes_of_the_checkpoint_that_were_flipped(project: QuickProject, stand_in: RunningSandbox) -> None:
    """Wherever: an error that names the damage or the numbers, or a result that is still right. Never a traceback."""
    path = planned(project, stand_in) / "checkpoint.db"
    whole, draw = path.read_bytes(), random.Random(7)
    codes = []
    for _ in range(60):
        damaged = bytearray(whole)
        for at in draw.sample(range(len(whole)), 3):
            damaged[at] ^= 1 << draw.randrange(8)
        replace(path, bytes(damaged))
        shown = project.loader("status", str(project.mapping_path), "--json")
        codes.append(shown.code)
        assert shown.code in (0, 1, 2)
        assert shown.code == 0 or shown.err.startswith("loader: "), shown.err
    assert 2 in codes
    replace(path, whole)
    assert project.run().destination()["sent"] == 300


@pytest.mark.parametrize("harm", ["one bit", "no checksum", "another checksum"])
def test_a_part_that_was_damaged(project: QuickProject, stand_in: RunningSandbox, harm: str) -> None:
    [part] = planned(project, stand_in).glob("runs/*/batch/*.parquet")
    harmed = part if harm == "one bit" else part.with_suffix(".sha256")
    whole = harmed.read_bytes()
    if harm == "one bit":
        at = random.Random(3).randrange(len(whole))
        harmed.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    elif harm == "no checksum":
        harmed.unlink()
    else:
        harmed.write_bytes(b"0" * 64 + whole[64:])
    once(project.run(), part.stem, "restore it", "loader cancel", code=5)
    assert len(stand_in.received("batch")) == 150
    harmed.write_bytes(whole)
    assert project.run().destination()["sent"] == 300
    assert sorted(arrived(stand_in.received("batch"))) == list(range(1, 301))


@pytest.mark.parametrize("most", [15, 20, 40])
def test_a_lost_part_that_is_not_needed_yet(
    project: QuickProject, stand_in: RunningSandbox, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(staging, "PART_EVENTS", 20)
    project.csv(numbered(60))
    project.mapping(batch(stand_in, chunk=5))
    assert project.loader("plan", str(project.mapping_path)).code == 0
    [lost] = project.folder.glob(f".loader/load/runs/*/batch/{1 + -(-most // 20):05d}.parquet")
    whole = lost.read_bytes()
    lost.unlink()
    ended = project.run("--stop-after", str(most))
    assert (ended.code, ended.destination()["sent"]) == (0, most), ended.err
    lost.write_bytes(whole)
    assert project.run().destination()["sent"] == 60
    assert sorted(arrived(stand_in.received("batch"))) == list(range(1, 61))


def test_a_clock_that_is_set_back_moves_no_cursor_back(
    project: QuickProject, stand_in: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Earlier(time_of_day.datetime):
        @classmethod
        def now(cls, tz: time_of_day.tzinfo | None = None) -> Any:
            return super().now(tz) - time_of_day.timedelta(days=3)

    mapping = batch(stand_in)
    mapping["source"] |= {"cursor": {"column": "number", "initial": 0}, "types": {"number": "integer"}}
    project.mapping(mapping)
    project.csv(numbered(10))
    first = project.run().json["run"]
    project.csv(numbered(20))
    monkeypatch.setattr(pipeline, "datetime", Earlier)
    second = project.run()
    assert second.json["run"] > first
    assert second.destination()["sent"] == 10
    monkeypatch.undo()
    monkeypatch.chdir(project.folder)
    project.csv(numbered(30))
    assert project.run().destination()["sent"] == 10
    assert sorted(arrived(stand_in.received("batch"))) == list(range(1, 31))


def test_a_state_that_was_copied_to_another_machine(
    project: QuickProject, stand_in: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = numbered(30)
    rows[5][2] = "no time at all"
    project.csv(rows)
    project.mapping(batch(stand_in, chunk=10))
    assert project.run("--stop-after", "10").code == 3
    there = tmp_path / STRANGE
    shutil.copytree(project.folder, there)
    shutil.rmtree(project.folder / ".loader")
    (project.folder / "events.csv").unlink()
    monkeypatch.chdir(there)
    moved = QuickProject(there, monkeypatch)
    ended = moved.run()
    assert (ended.code, ended.destination()["sent"]) == (3, 29)
    assert moved.loader("rejects", str(moved.mapping_path), "--output", "again.csv").code == 0
    assert (there / "again.csv").read_text().splitlines()[1:] == ["5,00005,no time at all"]
    assert moved.run().json["status"] == "nothing_new"


def test_a_path_with_all_that_means_something_elsewhere(
    stand_in: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / STRANGE
    folder.mkdir()
    monkeypatch.chdir(folder)
    project = QuickProject(folder, monkeypatch)
    rows = numbered(20)
    rows[3][2] = "no time at all"
    project.csv(rows)
    project.mapping(batch(stand_in))
    state = str(folder / "st?te#%41")
    assert project.run("--state", state).destination()["sent"] == 19
    for command in (["status"], ["tokens"], ["rejects", "--output", "x.csv"], ["report", "--output", "x.html"]):
        assert project.loader(command[0], "load.yaml", *command[1:], "--state", state).code == 0
    assert [path.name for path in tmp_path.iterdir()] == [STRANGE]
    assert sorted(path.name for path in folder.iterdir()) == ["events.csv", "load.yaml", "st?te#%41", "x.csv", "x.html"]
    assert project.run("--state", state).json["status"] == "nothing_new"


def test_a_state_where_no_second_names_can_be_made(project: QuickProject, stand_in: RunningSandbox, disk: Disk) -> None:
    rows = numbered(20)
    rows[3][2] = "no time at all"
    source = project.csv(rows)
    project.mapping(batch(stand_in))
    state = ("--state", str(disk.folder))
    assert project.run(*state).destination()["sent"] == 19
    assert project.loader("rejects", "load.yaml", "--output", "x.csv", *state).code == 0
    assert "no time at all" in Path("x.csv").read_text()
    source.unlink()
    assert "no time at all" in project.loader("rejects", "load.yaml", *state).out


def test_two_at_once(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(2_000))
    project.mapping(batch(stand_in, chunk=10, rate="100/s"))
    slow = Project(project.folder)
    with slow.start("run", "load.yaml", "--json") as one, slow.start("run", "load.yaml", "--json") as other:
        ended = [Ended(p.wait(60), *p.communicate()) for p in (one, other)]
    codes = sorted(end.code for end in ended)
    assert codes in ([0, 8], [0, 0]), [end.err for end in ended]
    assert codes == [0, 0] or "holds the state" in "".join(end.err for end in ended)
    assert sorted(arrived(stand_in.received("batch"))) == list(range(1, 2_001))


def test_what_is_kept_is_for_its_owner_alone(project: QuickProject, stand_in: RunningSandbox) -> None:
    rows = numbered(20)
    rows[3][2] = "no time at all"
    project.csv(rows)
    project.mapping(batch(stand_in))
    before = os.umask(0)
    try:
        assert project.run("--stop-after", "5").code == 3
        assert os.umask(0) == 0, "what is written elsewhere is left to the user"
    finally:
        os.umask(before)
    kept = [project.folder / ".loader", *(project.folder / ".loader").rglob("*")]
    assert {path.suffix for path in kept} >= {".db", ".parquet", ".sha256", ".json"}
    # The second name of the source is the user's own file.
    names = [path for path in kept if path.stat().st_ino != (project.folder / "events.csv").stat().st_ino]
    assert [path for path in names if path.stat().st_mode & 0o077] == []
