"""Providers that other installed distributions bring: found, used like any other, and never in silence when broken."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loader.providers import PROVIDERS
from tests.providers.outside import block, install, readme_entry_points
from tests.support.project import ROOT, Ended, Project, numbered, simple_mapping

POINTS = "[loader.providers]\n"


class Installed:
    """A project, and a folder of distributions that its commands find beside the loader."""

    def __init__(self, folder: Path) -> None:
        self.packages = folder / "packages"
        (folder / "project").mkdir()
        self.project = Project(folder / "project")

    def loader(self, *arguments: str) -> Ended:
        path = os.pathsep.join([str(ROOT), str(self.packages)])
        return self.project.loader(*arguments, env={"PYTHONPATH": path, "ACME_KEY": "s3cret"})


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    """Nothing is installed yet."""
    return Installed(tmp_path)


@pytest.fixture
def acme(installed: Installed) -> Installed:
    """The README's provider is."""
    install(installed.packages, "acme-loader", readme_entry_points(), acme_loader=block("python"))
    return installed


def destination(**more: Any) -> dict[str, Any]:
    return {"provider": "acme", "key": "${ACME_KEY}", **more}


def test_the_provider_of_the_readme_is_shown_beside_the_others(acme: Installed) -> None:
    shown = acme.loader("providers", "--json").json["providers"]
    assert [provider["name"] for provider in shown] == [*PROVIDERS, "acme"]
    assert shown[-1]["routes"][0]["events_per_call"] == 200
    assert "acme: Acme, https://api.acme.example" in acme.loader("providers").out


def test_a_plan_for_the_provider_of_the_readme(acme: Installed) -> None:
    acme.project.csv([*numbered(401), [402, " ", "2026-03-01T10:00:00Z"]])
    mapping = str(acme.project.mapping(simple_mapping(destination())))
    planned = acme.loader("plan", mapping, "--json")
    assert planned.code == 3
    [found] = planned.json["destinations"]
    assert (found["provider"], found["chunks"], found["events"]["pending"]) == ("acme", 3, 401)
    assert found["seconds_at_rate"] == 3.0
    preview = acme.loader("preview", mapping, "-n", "1").out
    assert '"items"' in preview
    assert '"2026-03-01T10:00:01Z"' in preview
    state = [path.read_bytes() for path in acme.project.folder.rglob("*") if path.is_file()]
    assert state
    assert not any(b"s3cret" in content for content in state)


@pytest.fixture
def acme_api() -> Iterator[tuple[str, list[Any]]]:
    """The address of an API as Acme's documents have it, which refuses number 7, and the bodies that arrived."""
    arrived: list[Any] = []

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = (self.path, self.headers["Authorization"]) == ("/v1/track", "Bearer s3cret")
            arrived.append(body["items"])
            seventh = [at for at, item in enumerate(body["items"]) if item["facts"]["number"] == 7]
            rejected = [{"index": at, "why": "not that one"} for at in seventh]
            answer = {"accepted": len(body["items"]) - len(rejected), "rejected": rejected}
            raw = json.dumps(answer if known else {"error": "who are you?"}).encode()
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", arrived
        server.shutdown()
        thread.join()


def test_a_run_for_the_provider_of_the_readme(acme: Installed, acme_api: tuple[str, list[Any]]) -> None:
    url, arrived = acme_api
    acme.project.csv(numbered(450))
    mapping = str(acme.project.mapping(simple_mapping(destination(base_url=url, rate="1000/s", concurrency=1))))
    ended = acme.loader("run", mapping, "--json")
    assert ended.code == 3
    events = ended.destination()
    assert (events["total"], events["sent"], events["rejected"]) == (450, 449, 1)
    assert [len(items) for items in arrived] == [200, 200, 50]
    assert arrived[0][0] == {
        "person": "00001",
        "what": "purchase",
        "at": "2026-03-01T10:00:01Z",
        "facts": {"number": 1},
    }
    rejects = acme.loader("rejects", mapping).out
    assert "not that one" in rejects
    assert "row 7" in rejects


def test_its_settings_are_checked_like_any_other(acme: Installed) -> None:
    acme.project.csv(numbered(1))
    mapping = str(acme.project.mapping(simple_mapping(destination(chunk=201, kye="x"))))
    checked = acme.loader("check", mapping)
    assert checked.code == 2
    assert "takes at most 200 events per call (https://docs.acme.example/track)" in checked.err
    assert "did you mean 'key'?" in checked.err


@pytest.mark.parametrize(
    ("code", "point", "words"),
    [
        ("import nothing_of_that_name", "broken:X", "No module named 'nothing_of_that_name'"),
        ("X = 1 / 0", "broken:X", "ZeroDivisionError: division by zero"),
        ("Y = 1", "broken:X", "AttributeError: module 'broken' has no attribute 'X'"),
        ("X = {}", "broken:X", "broken:X is no loader.providers.base.Provider"),
        ("from loader.providers import PROVIDERS\nX = PROVIDERS['batch']", "broken:X", "it calls itself 'batch'"),
    ],
)
def test_a_broken_one_names_its_distribution(installed: Installed, code: str, point: str, words: str) -> None:
    install(installed.packages, "acme-loader", f"{POINTS}acme = {point}\n", broken=code)
    installed.project.csv(numbered(1))
    mapping = str(installed.project.mapping(simple_mapping(destination())))
    for arguments in (["providers"], ["check", mapping]):
        ended = installed.loader(*arguments)
        assert ended.code == 2
        assert ended.err.startswith("loader: the provider 'acme' of the distribution acme-loader 1.0 cannot be used: ")
        assert words in ended.err
        assert ended.err.endswith("Mend the distribution or uninstall it\n")


def test_a_broken_one_troubles_nobody_who_does_not_use_it(installed: Installed) -> None:
    install(installed.packages, "acme-loader", f"{POINTS}acme = no_such_module:X\n")
    installed.project.csv(numbered(1))
    other = {"provider": "batch", "api_key": "a", "rest_api_key": "b"}
    mapping = str(installed.project.mapping(simple_mapping(other)))
    assert installed.loader("check", mapping).code == 0


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("batch = acme_loader:ACME", None, "the name 'batch': one of the loader itself, one of the distribution a 1.0"),
        (
            "acme = acme_loader:ACME",
            "acme = acme_loader:ACME",
            "the name 'acme': one of the distribution a 1.0, one of the distribution b 1.0",
        ),
        ("../x = acme_loader:ACME", None, "the distribution a 1.0 names a provider '../x'"),
    ],
)
def test_a_name_that_cannot_be_is_an_error(installed: Installed, first: str, second: str | None, words: str) -> None:
    install(installed.packages, "a", f"{POINTS}{first}\n", acme_loader=block("python"))
    if second is not None:
        install(installed.packages, "b", f"{POINTS}{second}\n")
    installed.project.csv(numbered(1))
    other = {"provider": "batch", "api_key": "a", "rest_api_key": "b"}
    mapping = str(installed.project.mapping(simple_mapping(other)))
    for arguments in (["providers"], ["check", mapping]):
        ended = installed.loader(*arguments)
        assert ended.code == 2
        assert words in ended.err
        assert "ninstall" in ended.err
