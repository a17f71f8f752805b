"""Texts and names of columns made to do harm arrive as they were, from every source, or are refused in words."""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from loader.errors import SourceError
from tests.attack.hostile import IMPOSSIBLE, NAMES, TEXTS, delivered, mapping, refusal, run
from tests.sources.helpers import read
from tests.support.project import Project, credentials
from tests.support.sandbox import RunningSandbox

FILES = ("csv", "jsonl", "parquet")


def write(path: Path, names: list[str], rows: list[list[Any]]) -> dict[str, Any]:
    """A file with these columns, and the `source:` that reads it."""
    kind = path.suffix[1:]
    if kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([names, *rows])
    elif kind == "jsonl":
        # Escaped and as it is, in turn.
        lines = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=n % 2 == 0) for n, row in enumerate(rows)]
        path.write_text("\n".join(lines), encoding="utf-8", newline="")
    else:
        pl.DataFrame({name: [row[n] for row in rows] for n, name in enumerate(names)}).write_parquet(path)
    return {"type": kind, "path": str(path)}


@pytest.mark.parametrize("kind", FILES)
def test_texts_of_a_file(project: Project, stand_in: RunningSandbox, kind: str) -> None:
    rows = [[str(number), text] for number, text in enumerate(TEXTS)]
    project.mapping(mapping(stand_in, write(project.folder / f"e.{kind}", ["n", "text"], rows)))
    assert project.run().code == 0
    assert [row["text"] for row in delivered(stand_in)] == TEXTS


@pytest.mark.parametrize("database", ["sqlite", "postgres", "mysql"])
def test_texts_of_a_database(
    project: Project, stand_in: RunningSandbox, request: pytest.FixtureRequest, database: str
) -> None:
    # PostgreSQL has no text with NUL.
    texts = [text for text in TEXTS if database != "postgres" or "\0" not in text]
    rows = [{"n": number, "x": text} for number, text in enumerate(texts)]
    url = f"sqlite:///{project.folder}/e.db" if database == "sqlite" else request.getfixturevalue(f"{database}_url")
    table = f"attack_{abs(hash(str(project.folder)))}"
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
    long = "LONGTEXT CHARACTER SET utf8mb4" if database == "mysql" else "TEXT"
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE TABLE {table} (n INTEGER, x {long})"))
        connection.execute(sa.text(f"INSERT INTO {table} VALUES (:n, :x)"), rows)
    try:
        project.mapping(mapping(stand_in, {"type": "sql", "url": url, "query": f"SELECT * FROM {table} ORDER BY n"}))
        assert project.run().code == 0
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(f"DROP TABLE {table}"))
    assert [row["x"] for row in delivered(stand_in)] == texts


@pytest.mark.parametrize("kind", FILES)
def test_names_of_columns(project: Project, stand_in: RunningSandbox, kind: str) -> None:
    rows = [[f"value of {name}" for name in NAMES], [f"again {name}" for name in NAMES]]
    project.mapping(mapping(stand_in, write(project.folder / f"e.{kind}", NAMES, rows)))
    assert project.run().code == 0
    assert delivered(stand_in) == [dict(zip(NAMES, row, strict=True)) for row in rows]


def test_names_of_a_querys_columns(project: Project, stand_in: RunningSandbox) -> None:
    names = [name for name in NAMES if name.casefold() not in ("row", "user") and "\0" not in name]
    quoted = [name.replace('"', '""') for name in names]
    columns = ", ".join(f"'{at}' AS \"{name}\"" for at, name in enumerate(quoted))
    sqlite3.connect(project.folder / "e.db").close()
    query = f"SELECT {columns}"
    project.mapping(mapping(stand_in, {"type": "sql", "url": "sqlite:///e.db", "query": query}))
    assert project.run().code == 0
    assert delivered(stand_in) == [{name: str(at) for at, name in enumerate(names)}]


@pytest.mark.parametrize("form", ["list", "expressions"])
def test_names_of_columns_one_by_one(project: Project, stand_in: RunningSandbox, form: str) -> None:
    """Named in the mapping, not taken with all others."""
    rows = [[f"value of {name}" for name in NAMES]]
    expressions = {name: '"' + name.replace('"', '""') + '"' for name in NAMES}
    source = write(project.folder / "e.parquet", NAMES, rows)
    project.mapping(mapping(stand_in, source, NAMES if form == "list" else expressions))
    assert project.run().code == 0
    assert delivered(stand_in) == [dict(zip(NAMES, rows[0], strict=True))]


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_names_that_no_column_can_have(tmp_path: Path, kind: str, name: str) -> None:
    source = write(tmp_path / f"e.{kind}", [name, "a"], [["1", "2"]])
    if kind == "csv" and not name:
        assert read(source).rows == [{"column_1": "1", "a": "2"}]
        return
    with pytest.raises(SourceError, match=IMPOSSIBLE[name]):
        read(source)


def test_members_of_objects_with_any_name(project: Project, stand_in: RunningSandbox) -> None:
    """Polars takes `*` and `^a.*$` for patterns: one has given the value of its neighbour."""
    names = ["^a.*$", "a", "*", "", "^.*$", 'q"', "a.b", "\0"]
    inner = {name: f"value of {name}" for name in names}
    rows = [{"o": inner, "l": [{**inner, "n": 1}, {"*": "alone"}], "m": {"*": 1}}, {"o": {"a": "x"}, "m": {"*": "two"}}]
    (project.folder / "e.jsonl").write_text("\n".join(map(json.dumps, rows)))
    project.mapping(mapping(stand_in, {"type": "jsonl", "path": "e.jsonl"}))
    assert project.run().code == 0
    assert delivered(stand_in) == rows
    stand_in.reset()
    other = Project(project.folder / "parquet")
    other.folder.mkdir()
    frame = pl.DataFrame({"o": pl.Series([inner], dtype=pl.Struct(dict.fromkeys(names, pl.String)))})
    frame.write_parquet(other.folder / "e.parquet")
    other.mapping(mapping(stand_in, {"type": "parquet", "path": "e.parquet"}))
    assert run(other).code == 0
    assert delivered(stand_in) == [{"o": inner}]


@pytest.mark.parametrize("expression", ['"*"', '"^a.*$"', 'upper("^a.*$")', "upper(*)", 'o."^b$"', 'o."*"', "`*`"])
def test_an_expression_that_stands_for_many_columns(
    project: Project, stand_in: RunningSandbox, expression: str
) -> None:
    (project.folder / "e.jsonl").write_text('{"a":"1","ab":"2","o":{"b":1}}')
    project.mapping(mapping(stand_in, {"type": "jsonl", "path": "e.jsonl"}, {"k": expression}))
    assert "more than one column" in refusal(project.run())


def test_formulas_are_written_to_a_csv_file_as_they_were(project: Project, stand_in: RunningSandbox) -> None:
    """`rejects --output` is for loading again: a quote in front of a formula would be another value."""
    rows = [*([text, "x"] for text in TEXTS), *([text, ""] for text in TEXTS)]
    project.mapping(
        {
            **mapping(stand_in, write(project.folder / "e.csv", ["text", "who"], rows)),
            "event": {"user": "who", "name": {"const": "e"}, "properties": ["text"]},
        }
    )
    assert project.run().code == 3
    assert project.loader("rejects", "load.yaml", "--output", "mended.csv").code == 0
    with (project.folder / "mended.csv").open(newline="", encoding="utf-8") as file:
        header, *written = csv.reader(file)
    assert (header, written) == (["text", "who"], [row for row in rows if not row[1]])


def test_a_cell_of_a_megabyte(project: Project, stand_in: RunningSandbox) -> None:
    cells = ["é" * 500_000, '"' * 1_000_000, "\n" * 1_000_000]
    source = write(project.folder / "e.csv", ["text"], [[cell] for cell in cells])
    project.mapping({**mapping(stand_in, source), "destinations": [credentials("appizer", stand_in.url)]})
    assert run(project).code == 0
    assert [event["event"]["properties"]["text"] for event in stand_in.received("appizer")] == cells


@pytest.mark.parametrize("output", ["mended.csv", "mended.jsonl", "mended.parquet"])
def test_lines_that_are_no_json_are_written_whole(project: Project, stand_in: RunningSandbox, output: str) -> None:
    lines = ['{"a":' + "[" * deep + "]" * deep + "}" for deep in (300, 2_000, 100_000)]
    lines += ['{"a":"\\ud800"}', '{"a":1e999}', '{"a":1}x', '{"a":"x"} {}', '{"a":"\\ud800\\u0041"}', '"\\udc00"']
    (project.folder / "e.jsonl").write_text("\n".join(['{"a":[1]}', *lines]))
    project.mapping(mapping(stand_in, {"type": "jsonl", "path": "e.jsonl"}))
    assert run(project).json["rows"] == {"read": 10, "filtered": 0, "rejected": 9, "events": 1}
    ended = project.loader("rejects", "load.yaml", "--output", output)
    assert (ended.code, ended.out.splitlines()[0]) == (0, f"9 rows written to {output}")
    if output == "mended.jsonl":
        assert (project.folder / output).read_text().splitlines() == lines
