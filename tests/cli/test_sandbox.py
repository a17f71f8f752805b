"""`loader sandbox`: what it prints leads to it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from loader.cli.standin import stand_in
from tests.support.project import Project


@contextmanager
def sandbox(project: Project, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[dict[str, Any]]]]:
    """Out: `loader sandbox` running, and the destinations that it has printed."""
    with project.start("sandbox", "--port", "0", *arguments) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(2)]
            # The last provider has the last line of all.
            while "sandbox-pushengage-key" not in lines[-1]:
                assert lines[-1], process.communicate()
                lines.append(process.stdout.readline())
            yield process, YAML(typ="safe").load("".join(lines[2:]))
        finally:
            process.kill()


def posted(destination: dict[str, Any], **fields: Any) -> httpx.Response:
    """One event, as the provider's documents have it, with what a destination says, and with further `fields`."""
    get = destination.get
    routes: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        "appizer": (
            "/v1/events/batch",
            {"headers": {"Authorization": f"Bearer {get('api_key')}"}},
            {"events": [{"event_name": "e", "user_id": "u"}]},
        ),
        "batch": (
            f"/1.0/{get('api_key')}/events/users/u",
            {"headers": {"X-Authorization": get("rest_api_key")}},
            {"events": [{"name": "ue.e"}]},
        ),
        "bloomreach": (
            f"/track/v2/projects/{get('project_token')}/customers/events",
            {"auth": (get("api_key_id"), get("api_secret"))},
            {"customer_ids": {"registered": "u"}, "event_type": "e", "properties": {"n": 1}},
        ),
        "pushengage": (
            "/api/v1/events",
            {"headers": {"Api-Key": get("api_key")}},
            {"event_name": "e", "profile_id": "p"},
        ),
    }
    path, access, body = routes[destination["provider"]]
    return httpx.post(destination["base_url"] + path, json=body | fields, **access, verify=False)


def test_the_destinations_that_it_prints_lead_to_it(project: Project) -> None:
    with sandbox(project, "--fault", "503:provider=batch") as (process, destinations):
        assert [d["provider"] for d in destinations] == ["appizer", "batch", "bloomreach", "pushengage"]
        assert [posted(destination).status_code for destination in destinations] == [200, 503, 200, 200]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_its_switches_reach_it(project: Project) -> None:
    arguments = ["--clock", "2012-08-12T23:00:00", "--appizer-unlimited", "--bloomreach-errors", "object"]
    with sandbox(project, *arguments) as (_, destinations):
        for _ in range(101):
            assert posted(destinations[0]).headers["X-RateLimit-Reset"] == "1344812460"
        assert posted(destinations[2], properties={}).json()["errors"].keys() == {"_global"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--fault", "503:provider=other"], "unknown provider 'other'"), (["--clock", "noon"], "noon")],
)
def test_what_it_cannot_do_is_said(project: Project, arguments: list[str], said: str) -> None:
    ended = project.loader("sandbox", *arguments)
    assert ended.code == 2
    assert said in ended.err


def test_times_in_milliseconds_are_told_after_a_rehearsal() -> None:
    with stand_in("--port", "0") as server:
        posted({"provider": "bloomreach", **server.settings()["bloomreach"]}, timestamp=1344812400000)
        first, warning = server.received([]).splitlines()
    assert first == "the stand-in received 1 event of bloomreach in 1 request"
    assert warning.startswith("the stand-in warns: 1 x a timestamp over 100000000000: ")
