"""Whose state it is, what an id may be, and what a limit counts: nothing is mistaken for something else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import QuickProject
from tests.support.project import arrived, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox

AT = "2026-03-01T10:00:00Z"


def test_two_mappings_of_one_name_do_not_share_a_state(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(10))
    first, second = str(project.mapping_path), str(project.folder / "other" / project.mapping_path.name)
    project.mapping(simple_mapping(credentials("batch", stand_in.url)))
    (project.folder / "other").mkdir()
    (project.folder / "other" / "events.csv").write_bytes((project.folder / "events.csv").read_bytes())
    text = project.mapping_path.read_text()
    (project.folder / "other" / project.mapping_path.name).write_text(text + "# another\n")
    env = {"LOADER_STATE": str(project.folder / "state")}
    assert project.loader("run", first, "--stop-after", "3", env=env).code == 0
    ended = project.loader("run", second, env=env)
    assert ended.code == 2
    assert f"is that of {first}. Give {second} another name" in ended.err
    for words in (["cancel", "--yes"], ["resolve", "--skip"], ["prune", "--older-than", "1s"]):
        assert f"is that of {first}." in project.loader(words[0], second, *words[1:], env=env).err
    # A copy of the same words, and a mapping that was moved, go on.
    (project.folder / "other" / project.mapping_path.name).write_text(text)
    assert project.loader("run", second, env=env).code == 0
    project.mapping_path.rename(project.folder / "old.yaml")
    (project.folder / "other" / project.mapping_path.name).write_text(text + "# changed\n")
    assert project.loader("run", second, env=env).code == 0
    assert sorted(arrived(stand_in.received("batch"))) == list(range(1, 11))


def _with_ids(project: QuickProject, stand_in: RunningSandbox, rows: list[list[Any]]) -> str:
    project.csv([["number", "user", "at", "key"], *rows])
    mapping = simple_mapping(credentials("batch", stand_in.url))
    mapping["event"]["id"] = "key"
    return str(project.mapping(mapping))


def test_an_event_without_an_id_is_rejected_where_ids_tell_new_ones(
    project: QuickProject, stand_in: RunningSandbox
) -> None:
    path = _with_ids(project, stand_in, [[1, "a", AT, "x"], [2, "a", AT, ""], [3, "b", AT, " "], [4, "b", AT, "a\0b"]])
    assert project.run().code == 3
    groups = project.loader("rejects", path, "--json").json["rejections"]
    assert [(group["reason"], group["count"]) for group in groups] == [("missing_id", 3)]
    said = project.loader("rejects", path).out
    assert "id" in said
    assert arrived(stand_in.received("batch")) == [1]


@pytest.mark.parametrize("stop", [5, 12])
def test_a_trial_counts_what_is_left_of_the_run_before(
    project: QuickProject, stand_in: RunningSandbox, stop: int
) -> None:
    project.csv(numbered(20), "a.csv")
    path = str(
        project.mapping(simple_mapping(credentials("batch", stand_in.url), source={"type": "csv", "path": "*.csv"}))
    )
    assert project.loader("run", path, "--stop-after", "10").code == 0
    project.csv(numbered(20, first=101), "b.csv")
    assert project.loader("run", path, "--stop-after", str(stop)).code == 0
    assert len(arrived(stand_in.received("batch"))) == 10 + stop
    assert project.loader("run", path).code == 0
    assert len(arrived(stand_in.received("batch"))) == 40


def test_a_destination_may_have_any_name(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(3))
    path = str(project.mapping(simple_mapping({**credentials("batch", stand_in.url), "name": "copies"})))
    assert project.loader("plan", path).code == 0
    assert project.loader("run", path).code == 0
    assert sorted(arrived(stand_in.received("batch"))) == [1, 2, 3]


def test_numbers_as_text_are_no_cursor(project: QuickProject, stand_in: RunningSandbox) -> None:
    source: dict[str, Any] = {"type": "csv", "path": "*.csv", "cursor": {"column": "number"}}
    project.csv(numbered(5, first=95), "a.csv")
    mapping = simple_mapping(credentials("batch", stand_in.url), source=source)
    project.mapping(mapping)
    assert project.run().code == 0
    project.csv(numbered(5, first=100), "b.csv")
    ended = project.run()
    assert ended.code == 2
    assert "text is compared by its bytes, so that 100 comes before 99. Write `types: {number: integer}`" in ended.err
    source["types"] = {"number": "integer"}
    project.mapping(mapping)
    assert project.run().code == 0
    assert sorted(arrived(stand_in.received("batch"))) == list(range(95, 105))


def test_text_that_is_in_the_order_of_its_numbers_is_a_cursor(project: QuickProject, stand_in: RunningSandbox) -> None:
    source = {"type": "csv", "path": "*.csv", "cursor": {"column": "key", "initial": "0"}}
    mapping = simple_mapping(credentials("batch", stand_in.url), source=source)
    project.mapping(mapping)
    for first, name in ((1, "a"), (6, "b")):
        rows = numbered(5, first=first)
        project.csv([[*rows[0], "key"], *([*row, f"{row[0]:05d}"] for row in rows[1:])], f"{name}.csv")
        assert project.run().code == 0
    assert sorted(arrived(stand_in.received("batch"))) == list(range(1, 11))


def test_a_new_destination_is_told_where_it_begins(project: QuickProject, stand_in: RunningSandbox) -> None:
    source = {"type": "csv", "path": "*.csv", "types": {"number": "integer"}, "cursor": {"column": "number"}}
    project.csv(numbered(5), "a.csv")
    first = credentials("batch", stand_in.url)
    project.mapping(simple_mapping(first, source=source))
    assert project.run().code == 0
    project.csv(numbered(5, first=6), "b.csv")
    mapping = simple_mapping(first, source=source)
    mapping["destinations"].append({**mapping["destinations"][0], "name": "second"})
    project.mapping(mapping)
    ended = project.run()
    assert ended.code == 0
    assert "second is new and gets what is above the cursor (5)" in ended.err
