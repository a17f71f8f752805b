"""Bad input ends in one clear message with the right exit code, no traceback, and nothing lost."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from tests.cli.conftest import QuickProject
from tests.support.project import ENVIRONMENT, Ended, Project, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox


def refused(ended: Ended, stand_in: RunningSandbox, *words: str, code: int = 2) -> None:
    """The command ended with `code` and a message with these words, and nothing was sent."""
    assert ended.code == code, ended.err
    assert len(ended.err.strip().splitlines()) <= 6, ended.err
    for word in words:
        assert word in ended.err
    assert sum(stand_in.state()["requests"].values()) == 0


def bloomreach(stand_in: RunningSandbox, **more: Any) -> dict[str, Any]:
    return simple_mapping(credentials("bloomreach", stand_in.url), **more)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["events.csv", "empty"]),
        (b"number,user\n1,a\n", ["load.yaml:", "no column 'at'"]),
        (b"number,number,at\n1,a,b\n", ["number", "two columns"]),
        (b"\xff\xfen\x00u\x00m\x00\n\x00", ["utf-16"]),
        (b'number,user,at\n1,"a,2026-03-01T10:00:00Z\n' + b"2,b,2026-03-01T10:00:00Z\n" * 10, ["quote"]),
        (b"number,user,at\n1,a,2026-03-01T10:00:00Z\n2,b,2026-03-01 10:00:00\n", ["2026-03-01 10:00:00", "timezone"]),
    ],
    ids=["empty", "missing column", "two columns of a name", "utf-16", "open quote", "no zone"],
)
def test_a_file_that_cannot_be_read(
    project: Project, stand_in: RunningSandbox, content: bytes, words: list[str]
) -> None:
    (project.folder / "events.csv").write_bytes(content)
    project.mapping(bloomreach(stand_in))
    refused(project.run(), stand_in, *words)


def test_only_a_header(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(0))
    project.mapping(bloomreach(stand_in))
    ended = project.run()
    assert ended.code == 0
    assert ended.json["rows"]["read"] == 0


def test_no_such_file(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.mapping(bloomreach(stand_in))
    refused(project.run(), stand_in, "events.csv")
    refused(project.process("run", "nowhere.yaml"), stand_in, "nowhere.yaml")


def test_times_that_do_not_exist_reject_their_rows_alone(project: Project, stand_in: RunningSandbox) -> None:
    rows = numbered(6)
    rows[2][2] = "2026-02-30T10:00:00Z"
    rows[4][2] = "2026-03-29T02:30:00"
    project.csv(rows)
    project.mapping(bloomreach(stand_in, timezone="Europe/Paris"))
    ended = project.run()
    assert (ended.code, ended.json["rows"]["rejected"], ended.destination()["sent"]) == (3, 2, 4)
    said = project.loader("rejects", str(project.mapping_path)).out
    for word in ("bad_time", "2026-02-30T10:00:00Z", "time_skipped", "2026-03-29T02:30:00", "Europe/Paris"):
        assert word in said


def test_a_ragged_row_is_reported_with_its_number(project: Project, stand_in: RunningSandbox) -> None:
    text = "number,user,at\n1,a,2026-03-01T10:00:00Z\n2,b\n3,c,2026-03-01T10:00:00Z,extra\n4,d,2026-03-01T10:00:00Z\n"
    (project.folder / "events.csv").write_text(text)
    project.mapping(bloomreach(stand_in))
    ended = project.run()
    assert (ended.code, ended.json["rows"]["rejected"], ended.destination()["sent"]) == (3, 2, 2)
    groups = project.loader("rejects", str(project.mapping_path), "--json").json["rejections"]
    assert [(group["reason"], group["count"]) for group in groups] == [("ragged_row", 2)]


def test_a_column_with_two_types(project: Project, stand_in: RunningSandbox) -> None:
    lines = ['{"number": %d, "user": "a", "at": "2026-03-01T10:00:00Z"}' % n for n in range(1, 300)]
    (project.folder / "events.jsonl").write_text("\n".join([*lines, lines[0].replace("1,", '"one",', 1)]))
    mapping = bloomreach(stand_in, source={"type": "jsonl", "path": "events.jsonl"})
    project.mapping(mapping)
    refused(project.run(), stand_in, "number", "300", "types")


def test_a_binary_column(project: Project, stand_in: RunningSandbox) -> None:
    at = "2026-03-01T10:00:00Z"
    frame = pl.DataFrame({"number": [1], "user": [b"\x00\xff"], "at": [at]})
    frame.write_parquet(project.folder / "events.parquet")
    project.mapping(bloomreach(stand_in, source={"type": "parquet", "path": "events.parquet"}))
    refused(project.run(), stand_in, "load.yaml:", "user", "binary")


def test_a_query_that_fails_half_way(project: Project, stand_in: RunningSandbox) -> None:
    database = project.folder / "shop.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE events (number INTEGER, user TEXT, at TEXT)")
        rows = numbered(50_000)[1:]
        rows[-1][1] = "{broken"
        connection.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
    connection.close()
    query = (
        "SELECT number, CASE WHEN number > 49000 THEN json_extract(user, '$.x') ELSE user END AS user, at FROM events"
    )
    project.mapping(bloomreach(stand_in, source={"type": "sql", "url": "sqlite:///shop.db", "query": query}))
    refused(project.run(), stand_in, "malformed JSON")
    assert list((project.folder / ".loader" / "load" / "runs").iterdir()) == []


def test_a_query_that_fails_half_way_on_postgresql(
    project: Project, stand_in: RunningSandbox, postgres_url: str
) -> None:
    query = "SELECT n AS number, 'u' AS user, now() AS at, 1 / (60000 - n) AS x FROM generate_series(1, 100000) AS n"
    project.mapping(bloomreach(stand_in, source={"type": "sql", "url": postgres_url, "query": query}))
    refused(project.run(), stand_in, "division by zero")
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%60000 - n%' AND pid <> pg_backend_pid()"
        assert connection.scalar(sa.text(busy)) == 0


def test_a_file_that_changes_while_it_is_read(project: Project, stand_in: RunningSandbox) -> None:
    path = project.csv(numbered(300_000))
    project.mapping(bloomreach(stand_in))
    done = threading.Event()

    def grow() -> None:
        while not done.is_set():
            with path.open("a") as file:
                file.write("1,a,2026-03-01T10:00:00Z\n")
            time.sleep(0.01)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        ended = project.run()
    finally:
        done.set()
        writer.join()
    refused(ended, stand_in, "changed while it was read")


@pytest.mark.parametrize("place", ["a_file/state", "/proc/loader"])
def test_a_state_folder_that_cannot_be_written(project: Project, stand_in: RunningSandbox, place: str) -> None:
    (project.folder / "a_file").write_text("")
    project.csv(numbered(3))
    project.mapping(bloomreach(stand_in))
    refused(project.run("--state", place), stand_in, "state folder", "--state")


def limited(project: Project, most_bytes: int) -> Ended:
    """`loader run` where no file can grow beyond `most_bytes`, as on a disk that is full."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    process = subprocess.run(
        [sys.executable, "-m", "loader", "run", str(project.mapping_path), "--json"],
        cwd=project.folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        preexec_fn=limit,
        timeout=120,
    )
    assert "Traceback" not in process.stderr, process.stderr
    return Ended(process.returncode, process.stdout, process.stderr)


def test_a_disk_that_fills_up_while_planning(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(200_000))
    project.mapping(bloomreach(stand_in))
    refused(limited(project, 400_000), stand_in, "the disk is full", "run again")
    assert project.run("--stop-after", "50").code == 0


def test_a_disk_that_fills_up_while_sending(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(6_000))
    project.mapping(simple_mapping({**credentials("batch", stand_in.url), "chunk": 5, "concurrency": 2}))
    assert project.loader("plan", str(project.mapping_path)).code == 0
    size = max(path.stat().st_size for path in (project.folder / ".loader" / "load").glob("checkpoint.db*"))
    ended = limited(project, size + 100_000)
    assert ended.code == 5, ended.err
    assert "the disk is full" in ended.err
    stopped = len(stand_in.received("batch"))
    assert 0 < stopped < 6_000
    after = project.run()
    doubted = after.destination()["in_doubt"]
    assert doubted <= 4 * 5, "only what was in flight"
    assert after.destination()["sent"] + doubted == 6_000
    assert len(stand_in.received("batch")) == 6_000 - doubted + min(
        doubted, len(stand_in.received("batch")) - 6_000 + doubted
    )


def test_a_checkpoint_of_a_newer_version(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(3))
    project.mapping(bloomreach(stand_in))
    assert project.loader("plan", str(project.mapping_path)).code == 0
    with sqlite3.connect(project.folder / ".loader" / "load" / "checkpoint.db") as connection:
        connection.execute("UPDATE meta SET version = 99")
    connection.close()
    for command in ("run", "plan", "status", "tokens"):
        refused(project.loader(command, str(project.mapping_path)), stand_in, "99", "version")


# Cut at any length: `tests/attack/test_storage.py`.
@pytest.mark.parametrize("damage", ["text", "flipped"])
def test_a_damaged_checkpoint(project: QuickProject, stand_in: RunningSandbox, damage: str) -> None:
    project.csv(numbered(300))
    project.mapping(bloomreach(stand_in))
    # A process that ends, so that the database is one file.
    assert project.process("plan", "load.yaml").code == 0
    path = project.folder / ".loader" / "load" / "checkpoint.db"
    whole = path.read_bytes()
    broken = {
        "text": b"this is not a database" * 100,
        "flipped": whole[:4096] + bytes(b ^ 0xFF for b in whole[4096:8192]) + whole[8192:],
    }[damage]
    for rest in path.parent.glob("checkpoint.db-*"):
        rest.unlink()
    path.write_bytes(broken)
    refused(project.run(), stand_in, "checkpoint.db", "damaged")


@pytest.mark.parametrize("harm", ["missing", "cut", "garbage"])
def test_a_damaged_part_of_the_plan(project: Project, stand_in: RunningSandbox, harm: str) -> None:
    project.csv(numbered(3_000))
    project.mapping(bloomreach(stand_in))
    assert project.loader("plan", str(project.mapping_path)).code == 0
    [part] = (project.folder / ".loader" / "load" / "runs").glob("*/bloomreach/*.parquet")
    if harm == "missing":
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[:1000] if harm == "cut" else b"x" * 5000)
    ended = project.run()
    assert ended.code == 2, ended.err
    assert str(part.name) in ended.err
    assert sum(stand_in.state()["requests"].values()) == 0


def test_a_folder_with_blanks_and_letters_of_any_script(tmp_path: Path, stand_in: RunningSandbox) -> None:
    folder = tmp_path / "été 2026" / "данные 数据"
    folder.mkdir(parents=True)
    project = Project(folder)
    project.csv(numbered(120))
    project.mapping(bloomreach(stand_in))
    assert project.run().destination()["sent"] == 120
