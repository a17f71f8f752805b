"""`loader report`: the page holds what the run holds, stands alone, and shows values as text."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.report.page import MOST_CHUNKS, MOST_FILES, MOST_GROUPS, Page, page
from loader.report.rejects import Example, Group
from loader.report.totals import DestinationTotals, Events, Rows, RunTotals
from tests.cli.conftest import QuickProject
from tests.support.project import credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox

_ALONE = {"meta", "br"}
_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "small", "p", "dl", "dt", "dd", "table"),
    *("thead", "tbody", "tr", "th", "td", "div", "span", "blockquote", "br", "pre", "code", "footer"),
}
EVIL = "<script>alert('1')</script>&\"<img src=x onerror=alert(2)>"


class Reader(HTMLParser):
    """Reads a page that is well formed and uses known tags alone; `text`: what a person sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pieces: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _TAGS
        assert {name for name, _ in attrs} <= {"lang", "charset", "name", "content", "class", "style", "aria-label"}
        if tag not in _ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.pieces.append(data)


def report(project: QuickProject, *arguments: str) -> Reader:
    """The page of the project's mapping."""
    ended = project.loader("report", str(project.mapping_path), *arguments)
    assert ended.code == 0, ended.err
    path = Path(ended.out.strip())
    assert path.parent == Path()
    return Reader(path.read_text(encoding="utf-8"))


def test_a_run_with_rejections(project: QuickProject, stand_in: RunningSandbox) -> None:
    rows = numbered(120)
    rows[3][1] = ""
    rows[5][0] = EVIL
    rows[7][0] = "not a number"
    project.csv(rows)
    project.mapping(simple_mapping(credentials("batch", stand_in.url), where="number <> '9'"))
    ran = project.run().json
    seen = report(project)
    name = f"load.{ran['run']}.html"
    assert (project.folder / name).exists()
    assert f"load done run {ran['run']} planned" in seen.text
    assert "read filtered rejected events 120 = 1 + 3 + 116" in seen.text
    assert "events already delivered rejected sent in doubt pending 116 = 0 + 0 + 116 + 0 + 0" in seen.text
    assert "Rejected: 3 bad_type 2 rows the value is not of the type that the mapping asks for" in seen.text
    assert "<script>alert('1')</script>" in seen.text
    assert "rows 5, 7 missing_user 1 row" in seen.text
    token = project.loader("tokens", "load.yaml", "--json").json["tokens"][0]["token"]
    assert (
        f"batch: sent 1 chunk, 116 events chunk among rows events tries token time 1 1–120 116 1 {token}" in seen.text
    )
    assert hashlib.sha256((project.folder / "events.csv").read_bytes()).hexdigest() in seen.text
    assert hashlib.sha256(project.mapping_path.read_bytes()).hexdigest() in seen.text
    assert "How to go on to see the rejections, or to write the rows to a file: loader rejects" in seen.text
    for secret in ("sandbox-api-key", "sandbox-rest-key"):
        assert secret not in (project.folder / name).read_text()


def test_the_newest_run_or_the_one_that_is_named(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(10))
    project.mapping(simple_mapping(credentials("bloomreach", stand_in.url)))
    first = project.run().json["run"]
    second = project.run("--again").json["run"]
    assert f"run {second}" in report(project).text
    assert "taken again all rows" in report(project).text
    assert f"run {first}" in report(project, "--run", first).text
    assert "Nothing is left to do." in report(project, "--run", first, "--output", "page.html").text
    assert (project.folder / "page.html").exists()


def test_what_is_pending_or_in_doubt_stands_first_with_the_way_on(
    project: QuickProject, stand_in: RunningSandbox
) -> None:
    project.csv(numbered(20))
    project.mapping(simple_mapping({**credentials("batch", stand_in.url), "chunk": 5, "timeout": "1s"}))
    assert project.run("--stop-after", "5").json["status"] == "paused"
    seen = report(project)
    assert "load paused" in seen.text
    assert "How to go on to go on: loader run" in seen.text
    assert seen.text.index("batch: pending 3 chunks, 15 events") < seen.text.index("batch: sent 1 chunk, 5 events")
    stand_in.faults([{"kind": "lost_answer", "first": 1}])
    assert project.run().code == 7
    seen = report(project)
    assert "load finished, with chunks in doubt" in seen.text
    assert "batch: in doubt 1 chunk, 5 events" in seen.text
    assert "loader resolve" in seen.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "there is no run of load.yaml yet"),
        (["--run", "x"], "there is no run x; the newest are: none"),
    ],
)
def test_without_a_run_there_is_no_page(project: QuickProject, arguments: list[str], words: str) -> None:
    project.csv(numbered(1))
    project.mapping(simple_mapping({"provider": "batch", "api_key": "k", "rest_api_key": "r"}))
    ended = project.loader("report", "load.yaml", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert not list(project.folder.glob("*.html"))


def test_a_page_goes_where_it_can(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(1))
    project.mapping(simple_mapping(credentials("bloomreach", stand_in.url)))
    project.run()
    for output, words in (("load.yaml", "ends in .html"), ("no/x.html", "cannot be written: No such file")):
        ended = project.loader("report", "load.yaml", "--output", output)
        assert (ended.code, ended.out) == (2, "")
        assert words in ended.err


def chunk(number: int, status: str = "sent", destination: str = "batch", text: str = "t") -> dict[str, Any]:
    return {
        "destination": destination, "number": number, "first_row": number, "last_row": number, "events": 1,
        "refused": 0, "attempts": 1, "status": status, "token": text, "message": text,
        "changed": "2026-11-20T12:00:00+00:00",
    }  # fmt: skip


def large(text: str, chunks: int, files: int) -> Page:
    events = Events(total=chunks, sent=chunks)
    destination = DestinationTotals(text, text, text, events, chunks, chunks, chunks, 10)
    run = RunTotals("R", text, "done", Rows(chunks, 0, 0, chunks), (destination,), 1.0)
    example = Example(1, text, text, text, text, text, 1)
    file = {"first_row": 1, "rows": 1, "size": 1, "digest": "d" * 64}
    return Page(
        run,
        {"created": text, "finished": None, "mapping_digest": text, "cursor": text, "again": False},
        [Group(text, text, 1000, example)] * 100,
        {(text, text): list(range(1, 21))},
        [chunk(number, text=text) for number in range(chunks)],
        [{**file, "path": f"{number}{text}"} for number in range(files)],
        text,
        None,
        text,
    )


def test_a_page_of_a_large_run_stays_small_and_says_what_it_leaves_out() -> None:
    html = page(large("some words " * 10, 100_000, 1_000))
    assert len(html.encode()) < 100_000
    text = Reader(html).text
    assert f"and {100_000 - MOST_CHUNKS:,} more chunks" in text
    assert f"and {1_000 - MOST_FILES:,} more files" in text
    assert "rows 1, 2, 3, 4," in text
    assert "20 and 980 more" in text
    assert f"and {100 - MOST_GROUPS} more reasons" in text


@given(st.text(max_size=40))
def test_no_value_is_markup(text: str) -> None:
    Reader(page(large(text, 2, 2)))
    Reader(page(large(text + EVIL, 2, 2)))


def test_who_holds_the_state_is_named() -> None:
    shown = replace(large("x", 2, 1), holder="process 7 on here", following=None)
    run = replace(
        shown.run, status="paused", destinations=(replace(shown.run.destinations[0], events=Events(2, pending=2)),)
    )
    assert "x under way" in Reader(page(replace(shown, run=run))).text
