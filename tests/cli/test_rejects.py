"""`loader rejects`: what is shown, and the files that it writes."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from loader.cli.mended import _members
from tests.cli.conftest import QuickProject
from tests.support.project import credentials, simple_mapping
from tests.support.sandbox import RunningSandbox

HEADER = ["number", "user", "at", "note"]
ROWS = [
    ["1", "a", "2026-03-01T10:00:01Z", "fine"],
    ["2", "", "2026-03-01T10:00:02Z", 'no "user", none'],
    ["3", "a", "2026-03-01T10:00:03Z", "too", "many"],
    ["x4", "a", "2026-03-01T10:00:04Z", "line\nbreak"],
    ["5", "a"],
    ["6", "a", "2026-03-01T10:00:06Z", ""],
    ["007", "", "2026-03-01T10:00:07Z", "Zoë"],
]


def load(project: QuickProject, stand_in: RunningSandbox, **more: Any) -> str:
    project.csv([HEADER, *ROWS])
    path = str(project.mapping(simple_mapping(credentials("bloomreach", stand_in.url), **more)))
    ended = project.run()
    assert ended.code == 3
    return path


def test_rejections_by_reason(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = load(project, stand_in)
    ended = project.loader("rejects", path)
    assert ended.code == 0
    run = project.loader("status", path, "--json").json["runs"][0]["run"]
    words = f"""\
run {run}: 5 rejections

missing_user: 2 rows
  the event has no user
  e.g. row 2 (events.csv): user (user) is null
       {{"number":"2","at":"2026-03-01T10:00:02Z","note":"no \\"user\\", none"}}

ragged_row: 2 rows
  the row has more or fewer cells than there are columns
  e.g. row 3 (events.csv): line 4: 5 cells, 4 expected
       {{"number": "3", "user": "a", "at": "2026-03-01T10:00:03Z", "note": "too", "_extra": ["many"]}}

bad_type: 1 row
  the value is not of the type that the mapping asks for
  e.g. row 4 (events.csv): properties.number: 'x4' is not a whole number of at most 64 bits
       properties.number is 'x4'
       {{"number":"x4","user":"a","at":"2026-03-01T10:00:04Z","note":"line\\nbreak"}}

to write these rows to a file:
loader rejects {path} --output load.rejected.csv
"""
    assert ended.out == words
    shown = project.loader("rejects", path, "--reason", "bad_type", "--json").json
    assert shown == {
        "mapping": "load",
        "rejections": [
            {
                "run": run,
                "destination": None,
                "reason": "bad_type",
                "meaning": "the value is not of the type that the mapping asks for",
                "count": 1,
                "retried": 0,
                "example": {
                    "row": 4,
                    "field": "properties.number",
                    "value": "x4",
                    "message": "properties.number: 'x4' is not a whole number of at most 64 bits",
                    "record": '{"number":"x4","user":"a","at":"2026-03-01T10:00:04Z","note":"line\\nbreak"}',
                    "file": "events.csv",
                    "row_in_file": 4,
                },
            }
        ],
    }
    assert project.loader("rejects", path, "--reason", "not_finite").out == "no rejections of reason not_finite\n"


def test_a_csv_file_has_the_source_s_shape(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = load(project, stand_in)
    ended = project.loader("rejects", path, "--output", "mended.csv")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "5 rows written to mended.csv",
        "2 rows could not be read; what is known of them stands there",
    ]
    assert ended.err.splitlines() == [
        "loader: row 3 could not be read: line 4: 5 cells, 4 expected",
        "loader: row 5 could not be read: line 7: 2 cells, 4 expected",
    ]
    with Path("mended.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [HEADER, *(ROWS[at] for at in (1, 2, 3, 4, 6))]


def test_the_written_file_loads_once_it_is_mended(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = load(project, stand_in)
    project.loader("rejects", path, "--reason", "missing_user", "--output", "mended.csv")
    Path("mended.csv").write_text(Path("mended.csv").read_text("utf-8").replace(",,", ",b,"), "utf-8")
    project.mapping(
        {**simple_mapping(credentials("bloomreach", stand_in.url)), "source": {"type": "csv", "path": "mended.csv"}}
    )
    ended = project.run()
    assert ended.code == 0
    assert ended.destination()["sent"] == 2


def test_separator_quote_encoding_and_header_are_those_of_the_source(
    project: QuickProject, stand_in: RunningSandbox
) -> None:
    data = "1;a;2026-03-01T10:00:01Z;ok\n2;;2026-03-01T10:00:02Z;Zoë 'x'\n3;;2026-03-01T10:00:03Z;'a;b'\n"
    Path("events.csv").write_text(data, "latin-1")
    source = {"type": "csv", "path": "events.csv", "separator": ";", "quote": "'", "encoding": "latin-1",
              "has_header": False, "columns": HEADER}  # fmt: skip
    path = str(project.mapping({**simple_mapping(credentials("bloomreach", stand_in.url)), "source": source}))
    project.run()
    project.loader("rejects", path, "--output", "mended.csv")
    written = Path("mended.csv").read_text("latin-1")
    assert written == "2;;2026-03-01T10:00:02Z;'Zoë ''x'''\n3;;2026-03-01T10:00:03Z;'a;b'\n"


def test_json_lines_and_parquet(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = load(project, stand_in)
    shown = project.loader("rejects", path, "--output", "mended.jsonl", "--json").json
    assert shown["output"] == {"file": "mended.jsonl", "rows": 5, "unreadable": 2}
    lines = [json.loads(line) for line in Path("mended.jsonl").read_text("utf-8").splitlines()]
    assert lines[0] == {"number": "2", "at": "2026-03-01T10:00:02Z", "note": 'no "user", none'}
    assert lines[1]["_extra"] == ["many"]
    project.loader("rejects", path, "--reason", "missing_user", "--output", "mended.parquet")
    expected = pl.DataFrame([[*row[:1], None, *row[2:]] for row in (ROWS[1], ROWS[6])], schema=HEADER, orient="row")
    assert_frame_equal(pl.read_parquet("mended.parquet"), expected.cast(pl.String))


def test_a_line_of_json_that_is_none_is_written_as_it_is(project: QuickProject, stand_in: RunningSandbox) -> None:
    good = '{"number": 1, "user": "a", "at": "2026-03-01T10:00:01Z", "price": 12.10, "more": {"x": [1, 2.50]}}'
    Path("events.jsonl").write_text(good + '\n{"number": 2, "user": \n' + good.replace('"a"', "null") + "\n")
    path = str(project.mapping({**simple_mapping(credentials("bloomreach", stand_in.url)),
                                "source": {"type": "jsonl", "path": "events.jsonl"}}))  # fmt: skip
    assert project.run().code == 3
    project.loader("rejects", path, "--output", "mended.jsonl")
    bad, rejected = Path("mended.jsonl").read_text().splitlines()
    assert bad == '{"number": 2, "user": '
    assert json.loads(rejected, parse_float=Decimal)["more"] == {"x": [1, Decimal("2.50")]}
    project.loader("rejects", path, "--output", "mended.parquet")
    frame = pl.read_parquet("mended.parquet")
    assert frame["number"].to_list() == [None, 1]
    assert frame["_raw"].to_list() == ['{"number": 2, "user": ', None]


def test_types_of_a_database_survive_in_parquet(project: QuickProject, stand_in: RunningSandbox) -> None:
    with closing(sqlite3.connect("any.db")) as database:
        database.execute("CREATE TABLE orders (number INTEGER, user TEXT, at TEXT, weight REAL, data BLOB)")
        rows = [(1, "a", "2026-03-01T10:00:01Z", 0.1, b"x"), (2**53 + 1, None, "2026-03-01T10:00:02Z", 0.25, b"\xff")]
        database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", rows)
        database.commit()
    source = {"type": "sql", "url": "sqlite:///any.db", "query": "SELECT * FROM orders ORDER BY number"}
    path = str(project.mapping({**simple_mapping(credentials("bloomreach", stand_in.url)), "source": source}))
    assert project.run().code == 3
    assert project.loader("rejects", path, "--output", "mended.parquet").out == "1 row written to mended.parquet\n"
    (row,) = pl.read_parquet("mended.parquet").iter_rows(named=True)
    assert (row["number"], row["user"], row["at"], row["weight"]) == (2**53 + 1, None, "2026-03-01T10:00:02Z", 0.25)


def test_events_that_a_provider_refused_are_found_with_their_rows(
    project: QuickProject, stand_in: RunningSandbox
) -> None:
    stand_in.faults([{"kind": "partial", "share": 1.0, "provider": "bloomreach"}])
    project.csv([HEADER, ROWS[0], ROWS[5]])
    mapping = simple_mapping(credentials("bloomreach", stand_in.url), credentials("batch", stand_in.url))
    path = str(project.mapping(mapping))
    assert project.run().code == 3
    out = project.loader("rejects", path).out
    assert "refused: 2 events to bloomreach\n" in out
    assert '{"number":"1","user":"a","at":"2026-03-01T10:00:01Z","note":"fine"}' in out
    written = project.loader("rejects", path, "--output", "mended.csv")
    assert "2 rows made events that other destinations get all the same" in written.out
    with Path("mended.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [HEADER, ROWS[0], ROWS[5]]


def moved(file: Path) -> None:
    file.rename(file.with_name("archived.csv"))


def removed(file: Path) -> None:
    file.unlink()


def replaced(file: Path) -> None:
    file.with_name("new.csv").write_text("number,user\n1,a\n")
    file.with_name("new.csv").replace(file)


@pytest.mark.parametrize("happened", [moved, removed, replaced])
def test_refused_rows_are_as_they_were_whatever_became_of_their_files(
    project: QuickProject, stand_in: RunningSandbox, happened: Callable[[Path], None]
) -> None:
    stand_in.faults([{"kind": "partial", "share": 1.0, "provider": "bloomreach"}])
    project.csv([HEADER, ROWS[0], ROWS[5]], "a.csv")
    project.csv([HEADER, ROWS[6], ["8", "b", "2026-03-01T10:00:08Z", "last"]], "b.csv")
    mapping = simple_mapping(credentials("bloomreach", stand_in.url))
    mapping["source"]["path"] = "[ab].csv"
    path = str(project.mapping(mapping))
    assert project.run().code == 3
    happened(project.folder / "a.csv")
    removed(project.folder / "b.csv")
    out = project.loader("rejects", path).out
    assert "refused: 3 events to bloomreach\n" in out
    assert '{"number":"1","user":"a","at":"2026-03-01T10:00:01Z","note":"fine"}' in out
    project.loader("rejects", path, "--reason", "refused", "--output", "mended.csv")
    with Path("mended.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [HEADER, ROWS[0], ROWS[5], ["8", "b", "2026-03-01T10:00:08Z", "last"]]


def test_files_are_read_again_as_they_were_read(project: QuickProject, stand_in: RunningSandbox) -> None:
    """Types depend on all files together, and are applied to the columns that the mapping uses."""
    stand_in.faults([{"kind": "partial", "share": 1.0, "provider": "bloomreach"}])
    rows = [{"number": number, "user": "a", "at": ROWS[0][2]} for number in (1, 2, 3)]
    for name, row, v in (("a", rows[0], 1), ("b", rows[1], {"x": 1}), ("c", rows[2], [1])):
        Path(f"{name}.jsonl").write_text(json.dumps({**row, "v": v, "unused": "many"}) + "\n")
    mapping = simple_mapping(credentials("bloomreach", stand_in.url))
    mapping["source"] = {"type": "jsonl", "path": "[abc].jsonl", "types": {"unused": "integer"}}
    path = str(project.mapping(mapping))
    assert project.run().code == 3
    assert project.loader("rejects", path, "--output", "mended.jsonl").out == "3 rows written to mended.jsonl\n"
    written = [json.loads(line) for line in Path("mended.jsonl").read_text().splitlines()]
    assert [(row["v"], row["unused"]) for row in written] == [(1, "many"), ({"x": 1}, "many"), ([1], "many")]


def test_a_symbolic_link_is_followed_once(project: QuickProject, stand_in: RunningSandbox) -> None:
    stand_in.faults([{"kind": "partial", "share": 1.0, "provider": "bloomreach"}])
    project.csv([HEADER, ROWS[0]], "real.csv")
    Path("events.csv").symlink_to("real.csv")
    path = str(project.mapping(simple_mapping(credentials("bloomreach", stand_in.url))))
    assert project.run().code == 3
    project.csv([HEADER, ROWS[5]], "newer.csv")
    Path("events.csv").unlink()
    Path("events.csv").symlink_to("newer.csv")
    Path("real.csv").unlink()
    project.loader("rejects", path, "--output", "mended.csv")
    with Path("mended.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [HEADER, ROWS[0]]


def test_rows_of_a_file_that_was_written_over_are_counted(project: QuickProject, stand_in: RunningSandbox) -> None:
    stand_in.faults([{"kind": "partial", "share": 1.0, "provider": "bloomreach"}])
    file = project.csv([HEADER, ROWS[0]])
    path = str(project.mapping(simple_mapping(credentials("bloomreach", stand_in.url))))
    assert project.run().code == 3
    file.write_text("number,user\n1,a\n")
    assert "refused: 1 event to bloomreach\n" in project.loader("rejects", path).out
    written = project.loader("rejects", path, "--output", "mended.csv")
    assert "1 row is lost: its file has changed or is gone" in written.out


def test_nothing_is_kept_of_a_load_that_went_well(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv([HEADER, ROWS[0]])
    project.mapping(simple_mapping(credentials("bloomreach", stand_in.url)))
    assert project.run().code == 0
    assert not list(project.folder.glob(".loader/load/runs/*/_rows"))


def test_a_load_without_a_single_event_still_knows_its_columns(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv([["number", "unused", "user", "at"], ["1", "", "", "2026-03-01T10:00:01Z"]])
    path = str(project.mapping(simple_mapping(credentials("bloomreach", stand_in.url))))
    assert project.run().code == 3
    project.loader("rejects", path, "--output", "mended.csv")
    assert Path("mended.csv").read_text() == "number,unused,user,at\n1,,,2026-03-01T10:00:01Z\n"


def test_runs(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = load(project, stand_in)
    project.csv([HEADER, ["8", "a", "2026-03-01T10:00:08Z", ""]], "more.csv")
    project.csv([HEADER, ["9", "", "2026-03-01T10:00:08Z", ""]], "bad.csv")
    files = ["events.csv", "more.csv"]
    for more in ([], ["bad.csv"]):
        source = {"type": "csv", "path": [*files, *more]}
        project.mapping({**simple_mapping(credentials("bloomreach", stand_in.url)), "source": source})
        project.run()
    first, _, third = [run["run"] for run in project.loader("status", path, "--json").json["runs"]]
    newest = project.loader("rejects", path, "--json").json["rejections"]
    assert {entry["run"] for entry in newest} == {third}
    every = project.loader("rejects", path, "--all", "--json").json["rejections"]
    assert [entry["run"] for entry in every] == [first] * 3 + [third]
    assert project.loader("rejects", path, "--run", first, "--json").json["rejections"] == every[:3]
    project.loader("rejects", path, "--all", "--reason", "missing_user", "--output", "all.csv")
    with Path("all.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["number", "2", "007", "9"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output", "x.txt"], "--output takes a file that ends in .csv, .jsonl or .parquet, not x.txt"),
        (["--output", "events.csv"], "events.csv is read by the mapping; choose another file for --output"),
        (["--output", "no/such/folder.csv"], "no/such/folder.csv cannot be written: No such file or directory"),
        (["--reason", "missing_usr"], "there is no reason missing_usr; did you mean missing_user?"),
        (["--run", "a", "--all"], "--run names one run, --all takes all of them; give one of the two"),
    ],
)
def test_wrong_options(project: QuickProject, stand_in: RunningSandbox, arguments: list[str], words: str) -> None:
    path = load(project, stand_in)
    ended = project.loader("rejects", path, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[-1] == f"loader: {words}"
    assert not list(project.folder.glob("*.unfinished"))


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("{}", {}),
        (' {"a":1}', None),
        ('{"a": 12.10 , "b":{"c": [1, "}"]},\t"d":null}', {"a": "12.10", "b": '{"c": [1, "}"]}', "d": "null"}),
        ('{"a":"\\u00e9\\""}', {"a": '"\\u00e9\\""'}),
        ("[1]", None),
        ('{"a":', None),
        ('{"a"', None),
        ("x,y", None),
    ],
)
def test_members_keep_their_text(text: str, members: dict[str, str] | None) -> None:
    assert _members(text) == members
