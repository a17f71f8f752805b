"""Running it again is safe: files are known by their content, ids are delivered once, cursors move on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.cli.conftest import QuickProject
from tests.support.project import Project, arrived, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox


def test_a_file_is_known_by_its_content(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(30))
    project.mapping(simple_mapping(credentials("batch", stand_in.url)))
    assert project.run().json["status"] == "done"
    assert not list((project.folder / ".loader").rglob("_rows")), "rows are kept only while one may be refused"
    assert project.run().json["status"] == "nothing_new"
    (project.folder / "events.csv").touch()
    assert project.run().json["status"] == "nothing_new", "another time of change is not another content"
    again = project.run("--again")
    assert (again.code, again.destination()["sent"]) == (0, 30)
    assert len(stand_in.received("batch")) == 60


def test_a_changed_file_without_ids_is_not_guessed_at(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(30))
    project.mapping(simple_mapping(credentials("batch", stand_in.url)))
    assert project.run().code == 0
    project.csv(numbered(31))
    ended = project.run()
    assert ended.code == 2
    assert "has changed since" in ended.err
    assert "--again" in ended.err
    assert len(stand_in.received("batch")) == 30


def test_an_id_is_delivered_once_per_destination(project: Project, stand_in: RunningSandbox) -> None:
    mapping = simple_mapping({**credentials("batch", stand_in.url), "name": "ios"})
    mapping["event"]["id"] = "number"
    project.csv(numbered(30))
    project.mapping(mapping)
    assert project.run().code == 0
    project.csv(numbered(40))
    ended = project.run()
    assert ended.code == 0
    assert ended.destination() == {
        "total": 40, "already_delivered": 30, "rejected": 0, "sent": 10, "in_doubt": 0, "pending": 0,
    }  # fmt: skip
    second = {**credentials("batch", stand_in.url), "name": "android", "api_key": "sandbox-api-key-2"}
    mapping["destinations"].append({**second, "late_events": "omit_time"})
    project.mapping(mapping)
    ended = project.run()
    assert (ended.code, ended.destination("ios")["already_delivered"], ended.destination("android")["sent"]) == (
        0,
        40,
        40,
    )
    assert len(stand_in.received("batch")) == 80


def test_a_new_destination_gets_files_that_the_first_one_had(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(25))
    first, second = (
        {**credentials("batch", stand_in.url), "name": name, "api_key": key}
        for name, key in (("ios", "sandbox-api-key"), ("android", "sandbox-api-key-2"))
    )
    project.mapping(simple_mapping(first))
    assert project.run().code == 0
    project.mapping(simple_mapping(first, second))
    ended = project.run()
    assert (ended.code, ended.destination("ios")["sent"], ended.destination("android")["sent"]) == (0, 0, 25)
    assert ended.destination("ios")["already_delivered"] == 25
    assert len(stand_in.received("batch")) == 50


def test_the_same_id_twice_in_one_source_is_a_rejection_that_says_so(
    project: Project, stand_in: RunningSandbox
) -> None:
    rows = numbered(20)
    rows[15][0] = 3
    project.csv(rows)
    mapping = simple_mapping(credentials("batch", stand_in.url))
    mapping["event"]["id"] = "number"
    project.mapping(mapping)
    ended = project.run()
    assert (ended.code, ended.destination()["rejected"], ended.destination()["sent"]) == (3, 1, 19)
    assert "duplicate_id" in project.loader("rejects", str(project.mapping_path)).out


def test_mended_rows_load_again_without_doubling_the_good_ones(project: Project, stand_in: RunningSandbox) -> None:
    rows = numbered(20)
    rows[7][1] = ""
    project.csv(rows)
    mapping = simple_mapping(credentials("batch", stand_in.url))
    mapping["event"]["id"] = "number"
    project.mapping(mapping)
    ended = project.run()
    assert (ended.code, ended.json["rows"]["rejected"]) == (3, 1)
    assert project.loader("rejects", str(project.mapping_path), "--output", "mended.csv").code == 0
    mended = (project.folder / "mended.csv").read_text()
    assert mended.splitlines() == ["number,user,at", "7,,2026-03-01T10:00:07Z"]
    (project.folder / "mended.csv").write_text(mended.replace("7,,", "7,00001,"))
    mapping["source"]["path"] = ["events.csv", "mended.csv"]
    project.mapping(mapping)
    ended = project.run()
    assert (ended.code, ended.destination()["sent"]) == (0, 1)
    assert sorted(arrived(stand_in.received("batch"))) == list(range(1, 21))


def test_a_trial_is_not_sent_twice(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(300))
    project.mapping(simple_mapping(credentials("bloomreach", stand_in.url)))
    ended = project.run("--stop-after", "70")
    assert (ended.code, ended.json["status"], ended.destination()["sent"]) == (0, "paused", 70)
    assert sorted(arrived(stand_in.received("bloomreach"))) == list(range(1, 71))
    ended = project.run()
    assert (ended.code, ended.json["status"], ended.destination()["sent"]) == (0, "done", 300)
    assert sorted(arrived(stand_in.received("bloomreach"))) == list(range(1, 301))


def test_the_bytes_planned_are_the_bytes_sent_whatever_happens_to_the_source(
    project: Project, stand_in: RunningSandbox
) -> None:
    path = project.csv(numbered(300))
    project.mapping(simple_mapping(credentials("bloomreach", stand_in.url)))
    assert project.run("--stop-after", "100").code == 0
    path.unlink()
    ended = project.run()
    assert (ended.code, ended.json["status"], ended.destination()["sent"]) == (2, "done", 300)
    assert "events.csv" in ended.json["error"], "the plan is delivered, then the missing file is reported"
    assert sorted(arrived(stand_in.received("bloomreach"))) == list(range(1, 301))


def test_a_query_with_a_cursor_takes_what_is_new(project: Project, stand_in: RunningSandbox) -> None:
    database = project.folder / "shop.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE events (number INTEGER, user TEXT, at TEXT)")
        connection.executemany("INSERT INTO events VALUES (?, ?, ?)", numbered(40)[1:])
    mapping = simple_mapping(credentials("batch", stand_in.url))
    query = "SELECT * FROM events WHERE number > :cursor ORDER BY number"
    cursor = {"column": "number", "initial": 0}
    mapping["source"] = {"type": "sql", "url": "sqlite:///shop.db", "query": query, "cursor": cursor}
    project.mapping(mapping)
    assert project.run().destination()["sent"] == 40
    assert project.run().json["status"] == "nothing_new"
    with sqlite3.connect(database) as connection:
        connection.execute("INSERT INTO events VALUES (41, 'u', '2026-03-01T10:00:00Z')")
    connection.close()
    ended = project.run()
    assert (ended.code, ended.json["rows"]["read"], ended.destination()["sent"]) == (0, 1, 1)


def test_a_query_without_cursor_or_ids_is_not_sent_twice(project: Project, stand_in: RunningSandbox) -> None:
    database = project.folder / "shop.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE events (number INTEGER, user TEXT, at TEXT)")
        connection.executemany("INSERT INTO events VALUES (?, ?, ?)", numbered(40)[1:])
    mapping = simple_mapping(credentials("batch", stand_in.url))
    mapping["source"] = {"type": "sql", "url": "sqlite:///shop.db", "query": "SELECT * FROM events ORDER BY number"}
    project.mapping(mapping)
    assert project.run().destination()["sent"] == 40
    assert project.run().json["status"] == "nothing_new"
    with sqlite3.connect(database) as connection:
        connection.execute("INSERT INTO events VALUES (41, 'u', '2026-03-01T10:00:00Z')")
    connection.close()
    ended = project.run()
    assert ended.code == 2
    assert "nothing tells which of them are new" in ended.err
    assert len(stand_in.received("batch")) == 40


def test_a_run_that_rejected_everything_loads_the_file_again_once_the_mapping_is_mended(
    project: Project, stand_in: RunningSandbox
) -> None:
    project.csv(numbered(10))
    mapping = simple_mapping(credentials("batch", stand_in.url))
    mapping["event"]["user"] = 'NULLIF("user", "user")'
    project.mapping(mapping)
    ended = project.run()
    assert (ended.code, ended.json["rows"]["rejected"], ended.json["rows"]["events"]) == (3, 10, 0)
    mapping["event"]["user"] = "user"
    project.mapping(mapping)
    ended = project.run()
    assert (ended.code, ended.destination()["sent"]) == (0, 10)


def test_more_rejections_than_allowed_send_nothing(project: QuickProject, stand_in: RunningSandbox) -> None:
    rows = numbered(100)
    for row in rows[1:7]:
        row[1] = ""
    project.csv(rows)
    project.mapping(simple_mapping(credentials("batch", stand_in.url)))
    for run, most in ((project.process, "5"), (project.loader, "5%")):
        ended = run("run", "load.yaml", "--max-rejected", most)
        assert ended.code == 4
        assert "6" in ended.err
    assert stand_in.received("batch") == []
    assert project.run("--max-rejected", "6%").code == 3
    assert len(stand_in.received("batch")) == 94


def test_a_plan_is_delivered_as_it_was_staged(project: Project, stand_in: RunningSandbox, tmp_path: Path) -> None:
    project.csv(numbered(100))
    project.mapping(simple_mapping(credentials("batch", stand_in.url)))
    state = tmp_path / "elsewhere"
    planned = project.loader("plan", str(project.mapping_path), "--json", "--state", str(state))
    assert planned.code == 0
    assert planned.destination()["pending"] == 100
    assert stand_in.received("batch") == []
    ended = project.run("--state", str(state))
    assert (ended.json["run"], ended.destination()["sent"]) == (planned.json["run"], 100)
    assert not (tmp_path / ".loader").exists()


def test_cancel_drops_what_is_pending(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(100))
    project.mapping(simple_mapping(credentials("batch", stand_in.url)))
    assert project.run("--stop-after", "40").code == 0
    assert project.loader("cancel", str(project.mapping_path), "--yes").code == 0
    ended = project.run()
    assert (ended.code, ended.json["status"]) == (0, "nothing_new")
    assert len(stand_in.received("batch")) == 40
    status = project.loader("status", str(project.mapping_path), "--json").json
    assert status["runs"][0]["destinations"][0]["events"]["rejected"] == 60


def test_old_events_stop_the_plan_by_default(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(50))
    project.mapping(simple_mapping({**credentials("batch", stand_in.url), "late_events": "stop"}))
    ended = project.run()
    assert ended.code == 2
    for word in ("50", "reject", "omit_time", "send"):
        assert word in ended.err
    assert stand_in.received("batch") == []
    project.mapping(simple_mapping({**credentials("batch", stand_in.url), "late_events": "reject"}))
    ended = project.run()
    assert (ended.code, ended.destination()["rejected"]) == (3, 50)
