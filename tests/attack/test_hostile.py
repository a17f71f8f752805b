"""Settings and data that mean harm: YAML is data, data is text, credentials are one line, sources are what they say."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from loader.providers import PROVIDERS
from tests.attack.faults import ROUTES
from tests.attack.test_faults import good, prepare
from tests.cli.conftest import QuickProject
from tests.support.project import credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox
from tests.support.wire import Wire

SETTINGS = [(name, key) for name, provider in PROVIDERS.items() for key in provider.secrets]
NASTY = {
    "a line break": "key\nX-Evil: 1",
    "CR LF": "key\r\nX-Evil: 1",
    "NUL": "key\0",
    "tab": "key\tkey",
    "another script": "ключ",
    "an accent": "clé",
    "a blank before": " key",
    "a blank behind": "key ",
    "a line break at the end": "key\n",
    "a blank that is none": "key\u00a0",
    "nothing": "",
    "an invisible letter": "key\u200b",
    "DEL": "key\x7f",
}


@pytest.mark.parametrize("nasty", NASTY)
@pytest.mark.parametrize(("provider", "key"), SETTINGS)
def test_a_credential_is_one_line_of_ascii(project: QuickProject, provider: str, key: str, nasty: str) -> None:
    project.csv(numbered(1))
    keys = credentials(provider, "http://127.0.0.1:1")
    if key == "api_token":
        del keys["api_key_id"], keys["api_secret"]
    late = {} if provider == "bloomreach" else {"late_events": "omit_time"}
    # In double quotes YAML knows \n, \0 and \u; as such a value comes from the environment, too.
    project.mapping_path.write_text(json.dumps(simple_mapping({**keys, **late, key: NASTY[nasty]})))
    ended = project.loader("check", "load.yaml")
    assert ended.code == 2
    assert "printable ASCII" in ended.err
    assert "X-Evil" not in ended.err


@pytest.mark.parametrize("route", ROUTES)
def test_data_cannot_become_a_header_or_an_address(project: QuickProject, route: str) -> None:
    user = "a/../b?c#d\r\nX-Evil: 1\r\n\r\n%2e%00"
    with Wire(good(route)) as wire:
        prepare(project, route, wire.url)
        project.csv([["number", "user", "at"], [1, user, "2026-03-01T10:00:00Z"]])
        assert project.run().code == 0
    first, *others = wire.heads[0].decode().split("\r\n")
    assert not any("X-Evil" in line for line in others)
    path = first.removeprefix("POST ").removesuffix(" HTTP/1.1")
    if route == "batch single":
        *_, before, last = path.split("/")
        assert (before, unquote(last)) == ("users", user)
    assert path.isprintable()
    assert not set(path) & set(" ?#")


def test_variables_in_the_data_stay_text(
    project: QuickProject, stand_in: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED", "from the environment")
    texts = ["${PLANTED}", "$PLANTED", "${PLANTED:-x}", "$${PLANTED}", "`id`", "{{7*7}}", "%(x)s", "\\x41", "<!--x-->"]
    rows: list[list[object]] = [["number", "user", "at", "text"]]
    rows += [[n, f"{text}", "2026-03-01T10:00:00Z", text] for n, text in enumerate(texts, 1)]
    project.csv(rows)
    mapping = simple_mapping(credentials("bloomreach", stand_in.url))
    mapping["event"]["properties"] = {"text": "text", "number": {"expr": "number", "as": "integer"}}
    project.mapping(mapping)
    assert project.run().code == 0
    data = [event["command"]["data"] for event in stand_in.received("bloomreach")]
    assert [event["properties"]["text"] for event in data] == texts
    assert [event["customer_ids"]["registered"] for event in data] == texts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: !!python/object/apply:os.system ['touch evil']", "unknown tag"),
        ("a: !!python/name:os.system", "unknown tag"),
        ("a: !include /etc/passwd", "unknown tag"),
        ("a: !!binary aGVsbG8=", "unknown tag"),
        ("<<: {provider: batch}", "unknown key '<<'"),
        ("--- {}\n--- {}", "second document"),
        ("a: \x07", "control character"),
        ("\x00", "control character"),
    ],
)
def test_yaml_is_data_only(project: QuickProject, text: str, words: str) -> None:
    project.mapping_path.write_text(text)
    ended = project.loader("check", "load.yaml")
    assert ended.code == 2
    assert words in ended.err
    assert [path.name for path in project.folder.iterdir()] == ["load.yaml"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///file:evil.db", "no such file"),
        ("sqlite:///file:evil.db?uri=true", "unable to open"),
        ("sqlite:///file:evil.db?mode=rwc&uri=true", "ro or rw"),
        ("sqlite:///file:evil.db?mode=memory&uri=true", "ro or rw"),
        ("sqlite:///evil.db?mode=rwc", "no such file"),
        ("sqlite:///evil.db", "no such file"),
        ("sqlite://", "names no file"),
        ("sqlite:////dev/null", "no such file"),
        ("sqlite:///.", "no such file"),
    ],
)
def test_a_source_is_never_made(project: QuickProject, url: str, words: str) -> None:
    mapping = simple_mapping(credentials("bloomreach", "http://127.0.0.1:1"))
    mapping["source"] = {"type": "sql", "url": url, "query": "SELECT 1 AS number, 'u' AS user, '2026-03-01' AS at"}
    project.mapping(mapping)
    ended = project.loader("check", "load.yaml")
    assert ended.code == 2
    assert words in ended.err
    assert [path.name for path in project.folder.iterdir()] == ["load.yaml"]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 AS number; DROP TABLE shop",
        "SELECT 1 AS number;;DROP TABLE shop",
        "SELECT 1 AS number /* ; */ ; DROP TABLE shop -- x",
        "DROP TABLE shop",
        "/* SELECT */ DROP TABLE shop",
        "WITH x AS (SELECT 1) DELETE FROM shop",
        "WITH x AS (SELECT 1) INSERT INTO shop SELECT * FROM x RETURNING number",
        "ATTACH DATABASE 'evil.db' AS evil",
        "PRAGMA writable_schema = ON",
        "VACUUM INTO 'evil.db'",
        "SELECT load_extension('evil')",
    ],
)
def test_a_query_only_reads(project: QuickProject, query: str) -> None:
    with sqlite3.connect("shop.db") as connection:
        connection.execute("CREATE TABLE shop (number INTEGER)")
        connection.execute("INSERT INTO shop VALUES (1)")
    connection.close()
    before = Path("shop.db").read_bytes()
    mapping = simple_mapping(credentials("bloomreach", "http://127.0.0.1:1"))
    mapping["source"] = {"type": "sql", "url": "sqlite:///shop.db", "query": query}
    project.mapping(mapping)
    assert project.loader("check", "load.yaml").code == 2
    assert project.run().code == 2
    assert Path("shop.db").read_bytes() == before
    assert sorted(path.name for path in project.folder.iterdir() if path.name != ".loader") == ["load.yaml", "shop.db"]


def test_an_address_of_another_s_network_gets_no_keys(project: QuickProject) -> None:
    project.csv(numbered(1))
    for url in (
        "http://api.example.com",
        "https://u:p@example.com",
        "https://example.com?x",
        "ftp://example.com",
        "//x",
    ):
        settings: dict[str, Any] = {**credentials("bloomreach", url)}
        project.mapping(simple_mapping(settings))
        ended = project.run()
        assert (ended.code, ended.err.count("load.yaml:")) == (2, 1), ended.err
