"""`loader cursor`: where the next run goes on, changed by hand; and what a run says about its cursor."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from tests.cli.conftest import QuickProject
from tests.support.project import arrived, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox


def shop(project: QuickProject, url: str, **cursor: Any) -> str:
    """A mapping of a table with 40 rows, and a cursor over it."""
    with closing(sqlite3.connect(project.folder / "shop.db")) as database, database:
        database.execute("CREATE TABLE events (number INTEGER, user TEXT, at TEXT)")
        database.executemany("INSERT INTO events VALUES (?, ?, ?)", numbered(40)[1:])
    mapping = simple_mapping(credentials("batch", url))
    query = "SELECT * FROM events WHERE number > :cursor ORDER BY number"
    mapping["source"] = {
        "type": "sql", "url": "sqlite:///shop.db", "query": query,
        "cursor": {"column": "number", "initial": 0, **cursor},
    }  # fmt: skip
    if "lag" in cursor:
        mapping["event"]["id"] = "number"
    return str(project.mapping(mapping))


def test_it_is_shown_set_and_forgotten(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = shop(project, stand_in.url)
    shown = project.loader("cursor", path)
    assert (shown.code, shown.out) == (
        0,
        "load: the cursor of number stands nowhere yet (initial: 0)\nthe next run starts above `initial`\n",
    )
    assert not (project.folder / ".loader").exists()
    run = project.run().json["run"]
    assert project.loader("cursor", path).out.startswith("load: the cursor of number stands at 40 (integer)\nsince ")
    shown = project.loader("cursor", path, "--json")
    assert {**shown.json, "changed": None} == {
        "column": "number", "cursor": "integer 40", "run": run, "changed": None, "initial": "0", "lag": None,
    }  # fmt: skip

    back = project.loader("cursor", path, "--set", "38")
    assert (back.code, back.out.splitlines()[:3]) == (
        0,
        ["load: the cursor of number was moved by hand", "  before  40 (integer)", "  now     38 (integer)"],
    )
    assert "their events are SENT AGAIN: the mapping gives them no `id`" in back.out
    assert back.out.endswith(f"loader plan {path}\n")
    assert "set by hand" in project.loader("cursor", path).out
    ended = project.run()
    assert (ended.code, ended.destination()["sent"]) == (0, 2)
    assert arrived(stand_in.received("batch"))[-2:] == [39, 40]

    ahead = project.loader("cursor", path, "--set", "45", "--json").json
    assert (ahead["before"], ahead["cursor"], ahead["run"]) == ("integer 40", "integer 45", None)
    assert "rows between the two values are not taken any more" in project.loader("cursor", path, "--set", "50").out
    assert project.run().json["status"] == "nothing_new"

    cleared = project.loader("cursor", path, "--clear")
    assert "  now     nowhere yet (initial: 0)\n" in cleared.out
    assert project.loader("status", path, "--json").json["cursor"] is None
    assert project.run().destination()["sent"] == 40


def test_a_plan_of_which_nothing_was_sent_gives_its_cursor_back(
    project: QuickProject, stand_in: RunningSandbox
) -> None:
    path = shop(project, stand_in.url, lag=5)
    assert project.loader("plan", path).code == 0
    set_ = project.loader("cursor", path, "--set", "30")
    assert " is not finished: it is delivered first, as it was planned" in set_.out
    assert "rows above it that were taken before are read again; events whose id was delivered are not sent" in set_.out
    assert set_.out.endswith(f"\nto deliver it, and take what is new:\nloader run {path}\n")
    assert "the next run takes rows above it, and again those down to 5 below it (lag)" in set_.out
    assert project.loader("cancel", path, "--yes").code == 0
    assert project.loader("status", path, "--json").json["cursor"] == "integer 30", "what was set by hand stays"
    assert project.loader("cursor", path, "--clear").code == 0
    assert project.loader("plan", path).code == 0
    assert project.loader("cancel", path, "--yes").code == 0
    assert project.loader("status", path, "--json").json["cursor"] is None


def test_what_cannot_be_set(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = shop(project, stand_in.url)
    wrong = project.loader("cursor", path, "--set", "2026-01-01")
    assert (wrong.code, wrong.err) == (
        2,
        "loader: the cursor's value '2026-01-01' does not fit the column 'number'; expected an integer\n",
    )
    both = project.loader("cursor", path, "--set", "1", "--clear")
    assert (both.code, both.err) == (2, "loader: --set and --clear exclude each other\n")
    project.csv(numbered(3))
    project.mapping(simple_mapping(credentials("batch", stand_in.url)))
    none = project.loader("cursor", path)
    assert (none.code, none.err) == (
        2,
        f"loader: the source of {path} has no `cursor:`; `loader check` lists its columns\n",
    )


def test_a_cursor_of_another_column_is_not_taken_for_this_one(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = shop(project, stand_in.url)
    assert project.run().code == 0
    text = project.mapping_path.read_text().replace("column: number", "column: at").replace("initial: 0", "initial: ''")
    project.mapping_path.write_text(text.replace("number > :cursor", "at > :cursor"))
    ended = project.run()
    assert ended.code == 2
    assert "the cursor stands at 40 of the column 'number', which says nothing about the column 'at'" in ended.err
    moved = project.loader("cursor", path, "--set", "2026-03-01T10:00:38Z")
    assert "  before  40 (integer), of number\n  now     2026-03-01T10:00:38Z (text)\n" in moved.out
    assert project.run().destination()["sent"] == 2


def test_all_rows_again_do_not_move_it_back(project: QuickProject, stand_in: RunningSandbox) -> None:
    shop(project, stand_in.url)
    assert project.run().code == 0
    with closing(sqlite3.connect(project.folder / "shop.db")) as database, database:
        database.execute("DELETE FROM events WHERE number > 30")
    ended = project.run("--again")
    assert (ended.code, ended.destination()["sent"]) == (0, 30)
    assert project.loader("cursor", str(project.mapping_path), "--json").json["cursor"] == "integer 40"


def test_it_moves_over_rows_that_where_filters(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = shop(project, stand_in.url)
    text = project.mapping_path.read_text()
    project.mapping_path.write_text(text + "where: number < 0\n")
    ended = project.run()
    assert (ended.code, ended.json["rows"]["filtered"]) == (0, 40)
    assert project.loader("cursor", path, "--json").json["cursor"] == "integer 40"
    assert project.run().json["status"] == "nothing_new"


def test_a_night_without_rows_says_so(project: QuickProject, stand_in: RunningSandbox) -> None:
    shop(project, stand_in.url)
    assert project.run().code == 0
    ended = project.run()
    assert (ended.code, ended.json["status"]) == (0, "nothing_new")
    assert "the query gave no row above the cursor 40" in ended.err
    project.csv(numbered(0))
    project.mapping(simple_mapping(credentials("batch", stand_in.url)))
    assert f"{project.folder}/events.csv gave no row\n" in project.run().err


def test_a_time_that_is_yet_to_come_is_said(project: QuickProject, stand_in: RunningSandbox) -> None:
    rows = numbered(3)
    rows[2][2] = "2126-03-01T10:00:00Z"
    project.csv(rows)
    mapping = simple_mapping(credentials("batch", stand_in.url))
    mapping["source"] |= {"types": {"at": "datetime"}, "cursor": {"column": "at"}}
    project.mapping(mapping)
    ended = project.run()
    assert ended.code == 0
    assert "the cursor stands at 2126-03-01 10:00:00+00:00, which is yet to come: rows below it" in ended.err
    assert "files that were loaded stay loaded" in (
        project.loader("cursor", str(project.mapping_path), "--set", "2026-03-01T10:00:00Z").out
    )
