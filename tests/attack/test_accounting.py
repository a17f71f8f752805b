"""A number of the checkpoint that is not true is found, whether or not the others agree with it."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import QuickProject
from tests.support.project import Project, credentials, numbered, simple_mapping
from tests.support.sandbox import sandbox


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a run that is half sent: 300 events with ids in chunks of 10, some refused; rejected rows, too."""
    with sandbox() as stand_in:
        project = Project(tmp_path_factory.mktemp("begun"))
        rows = numbered(302)
        rows[7][2] = rows[8][2] = "no time at all"
        project.csv(rows)
        mapping = simple_mapping({**credentials("bloomreach", stand_in.url), "chunk": 10, "concurrency": 1})
        mapping["event"]["id"] = "number"
        project.mapping(mapping)
        stand_in.faults([{"kind": "partial", "share": 0.2}])
        ended = project.run("--stop-after", "150")
        assert ended.json["status"] == "paused"
        assert ended.destination()["rejected"] > 10
        stand_in.faults([])
        yield project.folder


@pytest.fixture
def project(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QuickProject:
    """A copy of it."""
    # Nothing is under way, so that looking again would find the same.
    monkeypatch.setattr("loader.cli.status._TRIES", 2)
    folder = tmp_path / "copy"
    shutil.copytree(begun, folder)
    return QuickProject(folder, monkeypatch)


ONE_SENT = "start = (SELECT min(start) FROM chunks WHERE status = 'sent')"
TWO_SENT = f"{ONE_SENT} + 10"
ELEVEN = f"UPDATE chunks SET events = 11 WHERE {ONE_SENT}; UPDATE chunks SET start = 11, events = 9 WHERE {TWO_SENT}"
ONE_MORE, ONE_LESS = (f"UPDATE chunks SET refused = refused {sign} 1 WHERE start =" for sign in "+-")
ELSEWHERE = (
    f"{ONE_LESS} (SELECT min(start) FROM chunks WHERE refused > 0);"
    f"{ONE_MORE} (SELECT max(start) FROM chunks WHERE status = 'sent')"
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE runs SET rows_read = 303", "303 rows read are not 0 filtered + 2 rejected + 300 events"),
        ("UPDATE runs SET rows_rejected = 3, rows_read = 303", "3 rows rejected, but 2 reasons"),
        ("UPDATE runs SET events = 301, rows_read = 303", "of 301 events 300 are accounted for"),
        ("UPDATE destinations SET events = 299", "of 300 events 300 are accounted for"),
        ("UPDATE destinations SET already_delivered = 5", "of 300 events 305 are accounted for"),
        ("UPDATE destinations SET rejected = 1", "of 300 events 301 are accounted for"),
        (f"UPDATE chunks SET events = 9 WHERE {ONE_SENT}", "of 300 events 299 are accounted for"),
        (f"DELETE FROM chunks WHERE {ONE_SENT}", "of 300 events 290 are accounted for"),
        (f"UPDATE chunks SET status = 'snet' WHERE {ONE_SENT}", "of 300 events"),
        (f"UPDATE chunks SET refused = refused + 1 WHERE {ONE_SENT}", "events rejected, but"),
        ("UPDATE planned SET count = 1", "2 rows rejected, but 1 reasons"),
        ("DELETE FROM refusals WHERE row = (SELECT min(row) FROM refusals)", "events rejected, but"),
        # What adds up all the same.
        (
            f"UPDATE chunks SET events = 9 WHERE {ONE_SENT}; UPDATE chunks SET events = 11 WHERE {TWO_SENT}",
            "chunk 2 begins with event 10, but 9 events stand before it",
        ),
        (ELEVEN, "chunk 1 counts 11 events, but 10 were planned"),
        (ELSEWHERE, "rejected events, but"),
        ("UPDATE refusals SET row = row + 150", "counts 0 rejected events, but"),
        ("DELETE FROM ids WHERE row IN (SELECT row FROM ids LIMIT 200)", "300 events have an id"),
        ("INSERT INTO ids SELECT destination, id || 'x', run, row FROM ids", "ids are taken"),
    ],
)
def test_a_number_that_is_not_true(project: QuickProject, change: str, words: str) -> None:
    with sqlite3.connect(project.folder / ".loader" / "load" / "checkpoint.db") as connection:
        connection.executescript(change)
        requests = connection.execute("SELECT sum(attempts) FROM chunks").fetchall()
    connection.close()
    for command in ("status", "run"):
        ended = project.loader(command, "load.yaml")
        assert ended.code == 1, ended.err
        assert words in ended.err
        assert "backup" in ended.err
        assert len(re.findall(r"\d+", ended.err)) > 2
        # Nothing more is sent, and the run is never finished with it.
        with sqlite3.connect(project.folder / ".loader" / "load" / "checkpoint.db") as connection:
            assert connection.execute("SELECT status FROM runs").fetchall() == [("paused",)]
            assert connection.execute("SELECT sum(attempts) FROM chunks").fetchall() == requests
        connection.close()


def test_what_is_true(project: QuickProject) -> None:
    assert project.loader("status", "load.yaml").code == 0
    ended = project.run()
    assert (ended.code, ended.json["status"], ended.destination()["pending"]) == (3, "done", 0)
    assert project.loader("status", "load.yaml").code == 0


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_a_part_that_is_lost_after_it_was_sent_is_no_wrong_number(project: QuickProject, harm: str) -> None:
    assert project.run().code == 3
    [part] = (project.folder / ".loader" / "load" / "runs").glob("*/bloomreach/*.parquet")
    part.unlink() if harm == "gone" else part.write_bytes(part.read_bytes()[:-5])
    assert project.loader("status", "load.yaml").code == 0
