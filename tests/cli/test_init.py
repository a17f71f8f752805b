"""`loader init` on files and databases: what it writes passes `check` and delivers every row that can be delivered."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from ruamel.yaml import YAML

from tests.cli.conftest import QuickProject
from tests.support.project import ROOT, Ended

KEYS = {
    "BATCH_API_KEY": "k", "BATCH_REST_API_KEY": "r", "BLOOMREACH_PROJECT_TOKEN": "p",
    "BLOOMREACH_API_KEY_ID": "i", "BLOOMREACH_API_SECRET": "s",
}  # fmt: skip


def init(project: QuickProject, source: str, *more: str, provider: str = "bloomreach") -> tuple[Path, Ended]:
    """The mapping that was written; what is to be decided about old times is decided."""
    ended = project.loader("init", source, "--provider", provider, *more)
    assert ended.code == 0, ended.err
    mapping = project.folder / ended.out.split(" written from ")[0]
    text = mapping.read_text(encoding="utf-8")
    mapping.write_text(text.replace("# late_events:", "late_events:"), encoding="utf-8")
    return mapping, ended


def source_of(mapping: Path) -> dict[str, Any]:
    source: dict[str, Any] = YAML(typ="safe").load(mapping)["source"]
    return source


def counts(project: QuickProject, mapping: Path) -> dict[str, int]:
    """What a run against the sandbox made of the rows, all of whose events were sent."""
    checked = project.loader("check", mapping.name, env=KEYS)
    assert checked.code == 0, checked.err
    ran = project.loader("run", mapping.name, "--sandbox", "--json")
    assert ran.code in (0, 3), ran.err
    rows: dict[str, int] = ran.json["rows"]
    assert ran.destination()["sent"] == rows["events"]
    return rows


@pytest.mark.parametrize("provider", ["bloomreach", "batch"])
@pytest.mark.parametrize(
    ("file", "table", "rows", "without_time"),
    [("orders.csv", None, 1200, 242), ("visits.jsonl", None, 800, 0), ("shop.db", "orders", 1200, 242)],
)
def test_the_sample_data(
    project: QuickProject, provider: str, file: str, table: str | None, rows: int, without_time: int
) -> None:
    shutil.copy(ROOT / "sample_data" / file, project.folder)
    source = f"sqlite:///{file}" if table else file
    mapping, ended = init(project, source, *(["--table", table] if table else []), provider=provider)
    assert mapping.name == f"{table or Path(file).stem}_to_{provider}.yaml"
    assert ended.out.splitlines()[-1] == f"loader preview {mapping.name}"
    assert f"{rows:,} rows" in ended.out
    found = counts(project, mapping)
    assert found == {"read": rows, "filtered": 0, "rejected": without_time, "events": rows - without_time}
    if without_time:
        # The condition that the file proposes filters them.
        text = mapping.read_text(encoding="utf-8")
        mapping.write_text(text.replace("# where:", "where:"), encoding="utf-8")
        assert counts(project, mapping)["filtered"] == without_time


def test_real_purchases(project: QuickProject, real_data: Path) -> None:
    mapping, ended = init(project, str(real_data))
    assert "CustomerID (2,239 rows have none)" in ended.out
    text = mapping.read_text(encoding="utf-8")
    assert """# user: 'REGEXP_REPLACE("CustomerID", ''\\.0$'', '''')'""" in text
    assert "Quantity: {expr: '\"Quantity\"', as: integer}" in text
    assert "UnitPrice: {expr: '\"UnitPrice\"', as: decimal}" in text
    assert "InvoiceNo: '\"InvoiceNo\"'\n" in text
    assert counts(project, mapping) == {
        "read": 8373,
        "filtered": 0,
        "rejected": 2239 + 119,
        "events": 8373 - 2239 - 119,
    }


def test_a_parquet_file_with_odd_names_and_types(project: QuickProject) -> None:
    times = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    pl.DataFrame(
        {
            "User ID": [7, 8, 9],
            "Event.Time": times,
            'the "best" one': ["a", None, "c"],
            "select": [1.5, 2.5, 3.5],
            "nested": [{"Größe": 1, "order": True}] * 3,
            "list of": [[1, 2], [], None],
            "raw": [b"\x00"] * 3,
            "kind": pl.Series(["x", "y", "x"], dtype=pl.Categorical),
            "nothing": pl.Series([None] * 3, dtype=pl.Null),
        }
    ).write_parquet(project.folder / "odd.parquet")
    mapping, ended = init(project, "odd.parquet")
    assert "left out, the file says why: raw" in ended.out
    assert counts(project, mapping)["events"] == 3
    shown = project.loader("preview", mapping.name, "-n", "1", "--json").json["rows"][0]["destinations"][0]["request"]
    data = shown["commands"][0]["data"]
    assert data["customer_ids"] == {"registered": "7"}
    assert data["timestamp"] == times[0].timestamp()
    assert data["properties"] == {
        'the "best" one': "a", "select": 1.5, "nested_Größe": 1, "nested_order": True, "list of": [1, 2], "kind": "x",
    }  # fmt: skip
    assert counts(project, init(project, "odd.parquet", provider="batch")[0])["events"] == 3


ROWS = "user_id{0}note{0}amount\r\n0042{0}été, à 5 €{0}1.50\r\n7{0}plain{0}2.25\r\n"
FILES: list[tuple[str, bytes, dict[str, str]]] = [
    ("a.csv", ROWS.format(";").encode(), {"separator": ";"}),
    ("a.tsv", ROWS.format("\t").encode(), {"separator": "\t"}),
    ("a.txt", ROWS.format("|").encode(), {"separator": "|"}),
    ("a.csv", ROWS.format(";").encode("cp1252"), {"separator": ";", "encoding": "cp1252"}),
    ("a.csv", ROWS.format(";").replace("€", "\x81").encode("latin-1"), {"separator": ";", "encoding": "latin-1"}),
    ("a.csv", ROWS.format(";").encode("utf-16"), {"separator": ";", "encoding": "utf-16"}),
    ("a.csv", ROWS.format(";").encode("utf-8-sig"), {"separator": ";"}),
    ("a.csv.gz", gzip.compress(ROWS.format(";").encode(), mtime=0), {"separator": ";"}),
    ("a.csv", b'user_id,size,amount\n0042,5" pipe,1.50\n7,"a" or b,2.25\n', {"quote": ""}),
    ("a.csv", b'user_id,note,amount\n0042,"a, b; c; d",1.50\n7,"e; f; g",2.25\n', {}),
    ("a.csv", b"user_id\n0042\n7\n", {}),
]


@pytest.mark.parametrize(("name", "content", "settings"), FILES, ids=range(len(FILES)))
def test_separators_and_encodings_are_found_out(
    project: QuickProject, name: str, content: bytes, settings: dict[str, str]
) -> None:
    (project.folder / name).write_bytes(content)
    mapping, _ = init(project, name)
    assert source_of(mapping) == {"type": "csv", "path": name, **settings}
    assert counts(project, mapping) == {"read": 2, "filtered": 0, "rejected": 0, "events": 2}
    row = project.loader("preview", mapping.name, "-n", "1", "--json").json["rows"][0]
    data = row["destinations"][0]["request"]["commands"][0]["data"]
    assert data["customer_ids"] == {"registered": "0042"}
    if "note" in data["properties"]:
        assert data["properties"]["note"] == row["source"]["note"]
        assert data["properties"]["amount"] == 1.5


def test_a_damaged_letter_is_no_other_encoding(project: QuickProject) -> None:
    rows = ["user_id,note", *(f"{number},été" for number in range(50))]
    (project.folder / "a.csv").write_bytes("\n".join(rows).encode() + b"\n50,\xff\n")
    mapping, ended = init(project, "a.csv")
    assert "encoding" not in source_of(mapping)
    assert "51 rows, 2 columns; 1 row could not be read" in ended.out
    assert counts(project, mapping)["rejected"] == 1


def test_json_lines_of_several_types(project: QuickProject) -> None:
    lines = [{"user": {"id": 1}, "code": 7, "any": [1], "x": 1}, {"user": {"id": 2}, "code": "A7", "any": {"b": 2}}]
    (project.folder / "a.ndjson").write_text("\n".join(map(json.dumps, lines)) + "\nnot json\n")
    mapping, _ = init(project, "a.ndjson")
    assert source_of(mapping)["types"] == {"code": "text"}
    assert counts(project, mapping) == {"read": 3, "filtered": 0, "rejected": 1, "events": 2}


def test_paths_are_relative_to_the_mapping(project: QuickProject) -> None:
    for folder in ("data files", "mappings"):
        (project.folder / folder).mkdir()
    (project.folder / "data files" / "a #1.csv").write_text("user,x\n1,2\n")
    with sqlite3.connect(project.folder / "data files" / "my.db") as connection:
        connection.execute('CREATE TABLE "My Orders" ("User Id" INTEGER PRIMARY KEY, "a:b" TEXT)')
        connection.execute("""INSERT INTO "My Orders" VALUES (1, '50%')""")
    mapping, _ = init(project, "data files/a #1.csv", "--output", "mappings/m.yaml")
    assert source_of(mapping)["path"] == "../data files/a #1.csv"
    assert project.loader("check", "mappings/m.yaml", env=KEYS).code == 0
    mapping, _ = init(project, "data files/my.db", "--table", "My Orders", "--output", "mappings/n.yaml")
    assert source_of(mapping)["url"] == "sqlite:///../data files/my.db"
    checked = project.loader("check", "mappings/n.yaml", env=KEYS)
    assert checked.out == "ok: 1 destination (bloomreach), columns User Id, a:b\n"


def test_a_glob_is_kept(project: QuickProject) -> None:
    for day in (1, 2):
        (project.folder / f"day-{day}.csv").write_text(f"user,x\n{day},2\n")
    mapping, _ = init(project, "day-*.csv")
    assert (mapping.name, source_of(mapping)["path"]) == ("day-_to_bloomreach.yaml", "day-*.csv")
    assert counts(project, mapping)["read"] == 2


def test_the_cursor_that_is_proposed_works(project: QuickProject) -> None:
    shutil.copy(ROOT / "sample_data" / "shop.db", project.folder)
    mapping, _ = init(project, "shop.db", "--table", "orders")
    text = mapping.read_text(encoding="utf-8").replace("# cursor:", "cursor:")
    mapping.write_text(text.replace("FROM orders\n", "FROM orders WHERE number > :cursor\n"), encoding="utf-8")
    assert counts(project, mapping)["read"] == 1200


def test_a_query(project: QuickProject) -> None:
    shutil.copy(ROOT / "sample_data" / "shop.db", project.folder)
    query = "SELECT customer_id, upper(status) AS status\n  FROM orders\n WHERE status <> '${x}'"
    mapping, _ = init(project, "sqlite:///shop.db", "--query", query)
    assert mapping.name == "event_to_bloomreach.yaml"
    assert source_of(mapping)["query"] == query.replace("${", "$${") + "\n"
    assert "name: {const: event}" in mapping.read_text(encoding="utf-8")
    assert counts(project, mapping)["events"] == 1200


def test_a_password_is_not_written(project: QuickProject, postgres_url: str) -> None:
    url = sa.make_url(postgres_url)
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        for statement in (
            'DROP SCHEMA IF EXISTS "Init Test" CASCADE',
            'CREATE SCHEMA "Init Test"',
            'CREATE TABLE "Init Test"."Orders" ("Customer Id" text, id bigint PRIMARY KEY, total numeric(10, 2))',
            'ALTER TABLE "Init Test"."Orders" ADD at timestamptz, ADD tags text[]',
            """INSERT INTO "Init Test"."Orders" VALUES ('7', 1, 12.10, '2026-01-01T10:00:00Z', '{a}')""",
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()
    secret = url.update_query_dict({"password": "hush"}) if url.password is None else url
    given = secret.render_as_string(hide_password=False)
    mapping, ended = init(project, given, "--table", "Init Test.Orders")
    text = mapping.read_text(encoding="utf-8")
    assert "hush" not in text + ended.out
    assert source_of(mapping)["url"] == "${DATABASE_URL}"
    assert "put it into DATABASE_URL" in ended.out
    assert "# cursor: {column: id, initial: 0}" in text
    checked = project.loader("check", mapping.name, env={**KEYS, "DATABASE_URL": given})
    assert checked.out == "ok: 1 destination (bloomreach), columns Customer Id, id, total, at, tags\n"
    # A variable that was given stays one.
    mapping, ended = init(project, "${SHOP_URL:-" + given + "}", "--query", "SELECT 1 AS user_id", "--output", "v.yaml")
    assert source_of(mapping)["url"].startswith("${SHOP_URL:-")


def test_nothing_is_written_over(project: QuickProject) -> None:
    (project.folder / "a.csv").write_text("user,x\n1,2\n")
    mapping, _ = init(project, "a.csv")
    mapping.write_text("mine")
    again = project.loader("init", "a.csv", "--provider", "bloomreach")
    assert (again.code, again.out, mapping.read_text()) == (2, "", "mine")
    assert "a_to_bloomreach.yaml is there already" in again.err
    init(project, "a.csv", "--force")
    assert mapping.read_text() != "mine"


def test_a_placeholder_is_reported_where_it_stands(project: QuickProject) -> None:
    (project.folder / "a.csv").write_text("x,y\n1,2\n")
    mapping, ended = init(project, "a.csv")
    assert ended.out.splitlines()[-1] == "loader check a_to_bloomreach.yaml"
    assert "user: no column looks like a user" in ended.out
    checked = project.loader("check", mapping.name, env=KEYS)
    assert checked.code == 2
    number = next(n for n, line in enumerate(mapping.read_text().splitlines(), 1) if line.startswith("  user:"))
    assert checked.err.startswith(f"{mapping.name}:{number}:9: no column 'NAME_THE_COLUMN_OF_THE_USER'")


WRONG: list[tuple[dict[str, bytes], list[str], str]] = [
    ({"a.csv": b""}, ["a.csv"], "a.csv is empty"),
    ({"a.csv": b"user,x\n"}, ["a.csv"], "a.csv has no rows that can be read"),
    ({"a.csv": b"a,a\n1,2\n"}, ["a.csv"], "two columns named 'a'"),
    ({"a.csv": b"PK\x03\x04"}, ["a.csv"], "a zip archive or an Excel workbook"),
    ({"a.jsonl": b""}, ["a.jsonl"], "a.jsonl is empty"),
    ({"a.jsonl": b"1\n2\n"}, ["a.jsonl"], "a.jsonl has no rows that can be read"),
    ({"a.parquet": b"nonsense"}, ["a.parquet"], "is not a Parquet file"),
    ({"a.xlsx": b""}, ["a.xlsx"], "what is in the file is told by its ending: .csv, .tsv"),
    ({}, ["missing.csv"], "missing.csv: there is no such file"),
    ({"a.csv": b"user\n1\n"}, ["a.csv", "--table", "x"], "--table and --query are for databases"),
    ({"a.csv": b"user\n1\n"}, ["a.csv", "--output", "a.csv"], "--output takes a file that ends in .yaml"),
    ({"a.csv": b"user\n1\n"}, ["a.csv", "--output", "no/a.yaml"], "no/a.yaml cannot be written"),
    ({}, ["sqlite:///missing.db", "--table", "x"], "there is no such file"),
    ({}, ["informix://u:hush@h/d", "--table", "x"], "'informix' is not read here"),
    ({}, ["postgresql://u:hush@127.0.0.1:1/d", "--table", "x"], "cannot be opened"),
    ({}, ["sqlite:///shop.db"], "a database needs --table, or --query"),
    ({}, ["sqlite:///shop.db", "--table", "order"], "no table 'order'; did you mean 'orders'?"),
    ({}, ["sqlite:///shop.db", "--query", "SELECT nope FROM orders"], "nope"),
    ({}, ["sqlite:///shop.db", "--query", "DELETE FROM orders"], "is not a query"),
    ({}, ["${NOT_SET}", "--table", "x"], "the environment variable NOT_SET is not set"),
]


@pytest.mark.parametrize(("files", "arguments", "words"), WRONG)
def test_what_cannot_be_read_ends_with_2(
    project: QuickProject, files: dict[str, bytes], arguments: list[str], words: str
) -> None:
    shutil.copy(ROOT / "sample_data" / "shop.db", project.folder)
    for name, content in files.items():
        (project.folder / name).write_bytes(content)
    ended = project.loader("init", *arguments, "--provider", "bloomreach")
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert "hush" not in ended.err
    assert not list(project.folder.glob("*.yaml"))
