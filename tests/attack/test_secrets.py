"""Every secret of every provider, planted and provoked: none is printed, logged or stored, in any spelling."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import polars as pl
import pytest

from loader.providers import PROVIDERS
from tests.attack.faults import ROUTES
from tests.attack.test_faults import good
from tests.cli.conftest import QuickProject
from tests.support.project import Ended, numbered, simple_mapping
from tests.support.wire import Act, Exchange, Wire, http

COMMANDS = (
    ["check"], ["preview"], ["plan"], ["run"], ["run", "--json"], ["status"], ["status", "--json"], ["tokens"],
    ["rejects"], ["rejects", "--output", "rejected.csv"], ["report", "--output", "page.html"], ["retry"],
    ["resolve", "--skip"], ["cancel", "--yes"], ["prune", "--older-than", "0s"],
)  # fmt: skip


KEYS = ("authorization:", "x-authorization:", "api-key:")


def planted(name: str) -> str:
    """A secret with all that URLs, JSON, HTML and regular expressions write in a way of their own."""
    return f'Pl@nted/{name}+9%41?"&=<~.*(\\x'


def spellings(secret: str) -> set[str]:
    """The forms in which a secret may come to light; the first characters of each are enough to be one."""
    raw = secret.encode()
    forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
    forms |= {escape(secret), json.dumps(secret)[1:-1].replace("/", "\\/"), secret.lower(), secret.upper()}
    forms |= {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode(), raw.hex()}
    return {form[:12] for form in forms if form[:12].lower() != "pl@nted"}


def kept(folders: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """All files with their content, that of Parquet and Arrow files as text, too."""
    for folder in folders:
        for path in folder.rglob("*"):
            if not path.is_file() or path.name in ("events.csv", "load.yaml"):
                continue
            yield path, path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                yield path, pl.read_parquet(path).write_json()


def nowhere(secrets: Iterable[str], said: Iterable[Ended], folders: Iterable[Path]) -> None:
    forms = {form for secret in secrets for form in spellings(secret)}
    for ended in said:
        for form in forms:
            assert form not in ended.out + ended.err, (form, ended.out + ended.err)
    for path, content in kept(folders):
        for form in forms:
            assert form not in content, (form, path)


def echo(status: int, spell: Any) -> Act:
    """An answer whose body and headers repeat the request's address and head in another spelling."""

    async def act(wire: Wire, exchange: Exchange) -> bool:
        await wire.read(exchange)
        head = exchange.head.decode()
        first, *lines = head.split("\r\n")
        # Only the beginning of an answer is told: what holds keys comes first.
        told = [line.partition(":")[2].strip() for line in lines if line.lower().startswith(KEYS)]
        words = spell(" ".join([*told, first]))
        body = json.dumps({"success": False, "errors": [words], "message": words, "code": 31, "error": words}).encode()
        await exchange.write(http(status, body, f"X-Said: {quote(head)}", f"Location: https://x.example/{quote(head)}"))
        return True

    return act


SPELLS = {
    "as it is": str,
    "percent": lambda text: quote(text, safe=" "),
    "base64 of each word": lambda text: " ".join(base64.b64encode(word.encode()).decode() for word in text.split()),
    "html": escape,
    "shouting": str.upper,
    "cut": lambda text: text[:25],
}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize(
    ("route", "spell"),
    [*(("bloomreach batch", spell) for spell in SPELLS), *((route, "as it is") for route in ROUTES[:3] + ROUTES[4:])],
)
def test_keys_that_an_answer_repeats(
    project: QuickProject, temporary: Path, monkeypatch: pytest.MonkeyPatch, route: str, spell: str
) -> None:
    provider, _, name = route.partition(" ")
    monkeypatch.setattr("loader.sending.pacing.FIRST_WAIT", 0.01)
    monkeypatch.setattr(type(PROVIDERS[provider].route(name)), "floor", 0.01)
    secrets = {key: planted(key) for key in PROVIDERS[provider].secrets if key != "api_token"}
    env = {f"SECRET_{key}": value for key, value in secrets.items()}
    project.csv(numbered(12))
    late = {} if provider == "bloomreach" else {"late_events": "omit_time"}
    acts = [echo(status, SPELLS[spell]) for status in (400, 500, 429, 200, 201, 502, 418, 302)]
    said = []
    with Wire(good(route), *acts) as wire:
        keys = {key: f"${{SECRET_{key}}}" for key in secrets}
        settings = {"route": name, "base_url": wire.url, "concurrency": 1, "rate": "1000/s", "give_up_after": "300ms"}
        project.mapping(simple_mapping({"provider": provider, **keys, **settings, **late}))
        for command in COMMANDS:
            said.append(project.loader(command[0], "load.yaml", *command[1:], env=env))
        for _ in acts:
            said.append(project.loader("run", "load.yaml", "--again", env={**env, "LOADER_LOG": "json,debug"}))
    assert not wire.acts, "every answer was met"
    assert any(ended.code == 6 for ended in said)
    nowhere(secrets.values(), said, [project.folder, temporary])


@pytest.mark.parametrize("line", ["url", "token", "answer"])
def test_keys_in_a_line_that_is_no_http(project: QuickProject, line: str) -> None:
    key = planted("rest_api_key")
    said = {"url": f"http://x/{key}", "token": key, "answer": f"{key}: \x00"}[line]
    body = json.dumps({"token": said}).encode()

    async def quotes(wire: Wire, exchange: Exchange) -> bool:
        await wire.read(exchange)
        head = b"HTTP/1.1 201 OK\r\n" + f"{said}\r\n".encode() + b"\r\n"
        await exchange.write(http(201, body) if line == "token" else head)
        return False

    project.csv(numbered(2))
    with Wire(good("batch bulk"), quotes) as wire:
        destination = {"provider": "batch", "api_key": "k" * 20, "rest_api_key": key, "base_url": wire.url}
        project.mapping(simple_mapping(destination))
        ended = [project.run(), project.loader("status", "load.yaml"), project.loader("tokens", "load.yaml")]
    nowhere([key], ended, [project.folder])


def test_the_password_of_a_database(project: QuickProject, temporary: Path, postgres_url: str) -> None:
    password = "Pl@nted/pass+9&=~"
    mapping = simple_mapping({"provider": "bloomreach", **dict.fromkeys(("project_token", "api_key_id"), "k" * 20)})
    mapping["destinations"][0]["api_secret"] = "s" * 20
    said = []
    for url in (
        f"postgresql://loader_nobody:{quote(password, safe='')}@127.0.0.1:1/shop",
        f"postgresql://127.0.0.1:1/shop?user=loader_nobody&password={quote(password, safe='')}",
        f"postgresql://loader_nobody:{quote(password, safe='')}@127.0.0.1:99999999/shop",
        f"postgresql://loader_nobody:{quote(password, safe='')}@no-such-host.invalid/shop",
        f"mysql://loader_nobody:{quote(password, safe='')}@127.0.0.1:1/shop",
        f"nonsense://loader_nobody:{quote(password, safe='')}@127.0.0.1/shop",
        f"postgresql+nonsense://loader_nobody:{quote(password, safe='')}@127.0.0.1/shop",
        f"postgresql:/loader_nobody:{password}@127.0.0.1",
        postgres_url.replace("://", f"://loader_nobody:{quote(password, safe='')}@").replace("postgres@", ""),
    ):
        mapping["source"] = {"type": "sql", "url": "${DATABASE}", "query": "SELECT 1 AS number, 'u' AS user, 'x' AS at"}
        project.mapping(mapping)
        for log in ("", "json"):
            for command in (["check"], ["doctor"], ["preview"], ["plan"], ["run"]):
                env = {"DATABASE": url, "LOADER_LOG": log}
                ended = project.loader(command[0], "load.yaml", *command[1:], env=env)
                assert ended.code in ((2, 5) if command == ["doctor"] else (0, 2)), ended.err
                said.append(ended)
        said.append(project.loader("init", url, "--provider", "batch", "--table", "nowhere"))
    nowhere([password], said, [project.folder, temporary])


def test_what_the_environment_holds_is_not_told(project: QuickProject, stand_in: Any) -> None:
    """Not by a mapping that is wrong, whatever of it is wrong."""
    secret = planted("other")
    env = {"API_KEY": secret, "API_KEYS": secret, "HTTPS_PROXY": f"http://u:{quote(secret, safe='')}@127.0.0.1:1"}
    project.csv(numbered(2))
    said = []
    for wrong in (
        {"api_key": "${API_KEY}", "rest_api_key": "${API_KEY} "},
        {"api_key": "${API_KEY}\n", "rest_api_key": "x", "chunk": "${API_KEY}"},
        {"api_key": "x", "rest_api_key": "${API_KEE}", "route": "${API_KEY}"},
        {"api_key": "x", "rest_api_key": "x", "base_url": "https://u:${API_KEY}@example.com"},
        {"api_key": "x", "rest_api_key": "x", "base_url": "https://127.0.0.1:1", "give_up_after": 0},
    ):
        project.mapping(simple_mapping({"provider": "batch", **wrong}))
        for command in (["check"], ["doctor"], ["run"]):
            ended = project.loader(command[0], "load.yaml", env=env)
            said.append(ended)
    assert {ended.code for ended in said} <= {0, 2, 5}
    nowhere([secret], said, [project.folder])
    assert os.environ.get("API_KEY") is None
