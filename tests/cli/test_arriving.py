"""Files that arrive night after night, and what a source is expected to give."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.cli.conftest import QuickProject
from tests.support.project import arrived, credentials, simple_mapping
from tests.support.s3 import S3, Relay
from tests.support.sandbox import RunningSandbox


def night(project: QuickProject, number: int, rows: int = 10) -> None:
    """`in/<number>.csv` with rows of its own."""
    (project.folder / "in").mkdir(exist_ok=True)
    at = "2026-03-01T10:00:00Z"
    numbers = range(number * 1000 + 1, number * 1000 + rows + 1)
    project.csv([["number", "user", "at"], *([n, "u", at] for n in numbers)], f"in/{number}.csv")


def nightly(project: QuickProject, url: str, *, ids: bool = True, **source: Any) -> str:
    mapping = simple_mapping(credentials("batch", url))
    mapping["source"] |= {"path": "in/*.csv", **source}
    if ids:
        mapping["event"]["id"] = "number"
    return str(project.mapping(mapping))


def nights(stand_in: RunningSandbox) -> list[int]:
    """The nights of all events, in the order in which they arrived."""
    return list(dict.fromkeys(number // 1000 for number in arrived(stand_in.received("batch"))))


def test_files_are_taken_in_the_order_of_their_names_and_once(project: QuickProject, stand_in: RunningSandbox) -> None:
    nightly(project, stand_in.url)
    for number in (3, 1, 2):
        night(project, number)
    assert project.run().destination()["sent"] == 30
    for number in (5, 4):
        night(project, number)
    ended = project.run()
    assert (ended.json["rows"]["read"], ended.destination()["sent"]) == (20, 20)
    assert nights(stand_in) == [1, 2, 3, 4, 5]
    assert project.run().json["status"] == "nothing_new"


def test_a_file_without_rows_is_said(project: QuickProject, stand_in: RunningSandbox) -> None:
    nightly(project, stand_in.url)
    night(project, 1)
    night(project, 2, rows=0)
    ended = project.run()
    assert (ended.code, ended.destination()["sent"]) == (0, 10)
    assert f"{project.folder}/in/2.csv gave no row\n" in ended.err
    assert "in/1.csv" not in ended.err


def test_no_file_is_a_mistake_only_before_the_first(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = nightly(project, stand_in.url)
    assert project.run().code == 2
    night(project, 1)
    assert project.run().code == 0
    (project.folder / "in/1.csv").rename(project.folder / "loaded.csv")
    ended = project.run()
    assert (ended.code, ended.json["status"]) == (0, "nothing_new")
    assert ended.err == f"load: {project.folder}/in/*.csv: no file matches\n"
    assert "files were loaded before, so that a run finds nothing new" in project.loader("doctor", path).out
    night(project, 2)
    assert project.run().destination()["sent"] == 10


def test_a_new_file_may_have_another_column_than_those_that_were_loaded(
    project: QuickProject, stand_in: RunningSandbox
) -> None:
    nightly(project, stand_in.url)
    night(project, 1)
    assert project.run().code == 0
    project.csv([["number", "user", "at", "coupon"], [2001, "u", "2026-03-02T10:00:00Z", "x"]], "in/2.csv")
    assert project.run().destination()["sent"] == 1


def test_a_file_that_is_still_being_written_waits(project: QuickProject, stand_in: RunningSandbox) -> None:
    nightly(project, stand_in.url, settle="60s")
    night(project, 1)
    waits = project.run()
    assert (waits.code, waits.json["status"]) == (0, "nothing_new")
    assert f"{project.folder}/in/1.csv was written 0 s ago; it waits for a later run (settle: 60s)\n" in waits.err
    settled = time.time() - 61
    os.utime(project.folder / "in/1.csv", (settled, settled))
    # One half of a row is there, which would be refused if the file were read.
    (project.folder / "in/2.csv").write_text('number,user,at\n2001,"0')
    ended = project.run()
    assert (ended.code, ended.destination()["sent"]) == (0, 10)
    assert "in/2.csv was written" in ended.err
    # A clock that goes wrong must not let a file wait for years.
    night(project, 2)
    tomorrow = time.time() + 86_400
    os.utime(project.folder / "in/2.csv", (tomorrow, tomorrow))
    assert project.run().destination()["sent"] == 10


def test_a_remote_file_that_was_just_written_waits(
    project: QuickProject, stand_in: RunningSandbox, s3: S3, near: Relay
) -> None:
    s3.put("settling", **{"1.csv": b"number,user,at\n1001,u,2026-03-01T10:00:00Z\n"})
    nightly(project, stand_in.url, path="s3://settling/*.csv", settle="1h")
    waits = project.run(env=near.environment)
    assert (waits.json["status"], "s3://settling/1.csv was written " in waits.err) == ("nothing_new", True)
    nightly(project, stand_in.url, path="s3://settling/*.csv", settle=0)
    assert project.run(env=near.environment).destination()["sent"] == 1


def test_a_loaded_file_that_changed_is_reported(project: QuickProject, stand_in: RunningSandbox) -> None:
    nightly(project, stand_in.url)
    night(project, 1)
    first = project.run().json["run"]
    night(project, 1, rows=12)
    night(project, 2)
    ended = project.run()
    assert (ended.code, ended.destination()["already_delivered"], ended.destination()["sent"]) == (0, 10, 12)
    said = f"in/1.csv was loaded by run {first} and has changed since; it is read again, and events whose id was"
    assert said in ended.err

    nightly(project, stand_in.url, ids=False)
    night(project, 1, rows=13)
    ended = project.run()
    assert ended.code == 2
    for words in ("nothing tells its new rows", "another name", "--again", "move the file away", "an `id`"):
        assert words in ended.err
    nightly(project, stand_in.url, ids=False, types={"number": "integer"}, cursor={"column": "number"})
    ended = project.run()
    assert (ended.code, "it is read again, and only rows above the cursor are taken" in ended.err) == (0, True)


EXPECTATIONS: list[tuple[dict[str, Any], int, str | None]] = [
    ({"rows": "10.."}, 10, None),
    ({"rows": "10.."}, 9, "the source gave 9 rows, not counting filtered ones; expected at least 10"),
    ({"rows": "..5"}, 6, "the source gave 6 rows, not counting filtered ones; expected at most 5"),
    ({"rows": "2..5"}, 1, "the source gave 1 row, not counting filtered ones; expected 2 to 5"),
    ({"rows": 7}, 8, "the source gave 8 rows, not counting filtered ones; expected 7"),
]


@pytest.mark.parametrize(("expect", "rows", "said"), EXPECTATIONS)
def test_a_source_is_held_to_what_is_expected(
    project: QuickProject, stand_in: RunningSandbox, expect: dict[str, Any], rows: int, said: str | None
) -> None:
    path = nightly(project, stand_in.url, expect=expect, types={"number": "integer"}, cursor={"column": "number"})
    night(project, 1, rows)
    if said is not None:
        for command in ("plan", "run"):
            ended = project.loader(command, path)
            assert (ended.code, said in ended.err) == (2, True)
            assert "--no-expect" in ended.err
        status = project.loader("status", path)
        assert f", exit 2: {said}. Nothing was sent, no file counts as loaded" in status.out
        assert status.out.endswith(f"\nwhen that is mended:\nloader run {path}\n")
        assert project.loader("status", path, "--json").json["runs"] == []
        assert project.loader("cursor", path, "--json").json["cursor"] is None
        assert stand_in.received("batch") == []
    ended = project.run(*(["--no-expect"] if said else []))
    assert (ended.code, ended.destination()["sent"]) == (0, rows)


def test_it_can_be_said_only(project: QuickProject, stand_in: RunningSandbox) -> None:
    nightly(project, stand_in.url, expect={"rows": "10..", "unmet": "say"})
    night(project, 1, 3)
    ended = project.run()
    assert (ended.code, ended.destination()["sent"]) == (0, 3)
    assert "the source gave 3 rows, not counting filtered ones; expected at least 10\n" in ended.err


def test_a_night_without_a_file_is_not_as_expected_but_a_second_try_is(
    project: QuickProject, stand_in: RunningSandbox
) -> None:
    nightly(project, stand_in.url, expect={"rows": "1.."})
    night(project, 1)
    stopped = project.run("--stop-after", "4")
    assert (stopped.code, stopped.json["status"]) == (0, "paused")
    assert project.run().code == 0, "what was left is delivered, and nothing more was expected of this night"
    ended = project.run()
    assert (ended.code, ended.out) == (2, "")
    assert "the source gave 0 rows, not counting filtered ones; expected at least 1." in ended.err


def loads(project: QuickProject, counts: Sequence[int], first: int) -> list[int]:
    codes = []
    for number, count in enumerate(counts, first):
        night(project, number, count)
        codes.append(project.run().code)
    return codes


def test_far_fewer_or_more_rows_than_usual(project: QuickProject, stand_in: RunningSandbox) -> None:
    nightly(project, stand_in.url, expect={"change": "50%"})
    assert loads(project, [100, 10, 8], 1) == [0, 0, 0], "three runs make what is usual: here 10"
    night(project, 4, 4)
    ended = project.run()
    assert (ended.code, "expected 5 to 15, going by 10, the median of the last 3 runs" in ended.err) == (
        2,
        True,
    )
    assert loads(project, [5], 4) == [0], "the file that was not loaded was mended"
    assert loads(project, [16], 5) == [2]
    assert project.run("--no-expect").code == 0
