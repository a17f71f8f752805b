"""Each fault of the table meets each route on a real socket: only what was certainly not taken is sent again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loader.providers import PROVIDERS
from tests.attack.faults import FAULTS, ROUTES, Fault
from tests.cli.conftest import QuickProject
from tests.support.project import credentials, simple_mapping
from tests.support.wire import Wire

COUNTED = ("total", "sent", "in_doubt", "rejected", "pending")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are tested elsewhere; here they would take an hour."""
    monkeypatch.setattr("loader.sending.pacing.FIRST_WAIT", 0.01)
    monkeypatch.setattr("loader.sending.http.CONNECT_SECONDS", 0.3)
    for provider in PROVIDERS.values():
        for route in provider.routes:
            monkeypatch.setattr(type(route), "floor", 0.01)


def good(route: str) -> Any:
    """The route's answer to a body that it takes."""

    def answer(body: bytes) -> tuple[int, bytes]:
        said = json.loads(body)
        if route.startswith("batch"):
            return 201, b'{"token": "110e8400-e29b-11d4-b543-446655440000"}'
        if route == "appizer batch":
            return 200, json.dumps({"success": True, "processed_count": len(said["events"])}).encode()
        if route == "bloomreach batch":
            results = [{"success": True, "command_id": command["command_id"]} for command in said["commands"]]
            return 200, json.dumps({"results": results, "success": True}).encode()
        return (
            200,
            b'{"success": true, "errors": []}' if route == "bloomreach single" else b'{"error_code": 0, "data": {}}',
        )

    return answer


def prepare(project: QuickProject, route: str, url: str, **more: Any) -> int:
    """A project with two events of one user for a route; how many of them travel together."""
    provider, _, name = route.partition(" ")
    project.csv([["number", "user", "at"], *([n, "ann", "2026-03-01T10:00:00Z"] for n in (1, 2))])
    late = {} if provider == "bloomreach" else {"late_events": "omit_time"}
    settings = {"route": name, "timeout": "400ms", "concurrency": 1, "rate": "10000/s", "give_up_after": "5s"}
    project.mapping(simple_mapping({**credentials(provider, url), **late, **settings, **more}))
    return 1 if route in ("bloomreach single", "pushengage single") else 2


def expected(route: str, fault: Fault, together: int) -> tuple[int, dict[str, int], int]:
    """Exit code, events, and requests, where the first request meets the fault."""
    events = dict.fromkeys(COUNTED, 0) | {"total": 2}
    alone = 2 // together
    verdict = fault.of(route)
    if verdict == "in doubt" and route.startswith("bloomreach"):
        verdict = "not taken"
    match verdict:
        case "taken":
            return 0, events | {"sent": 2}, alone
        case "not taken":
            return 0, events | {"sent": 2}, alone + 1
        case "in doubt":
            return 7, events | {"in_doubt": together, "sent": 2 - together}, alone
        case "refused" if together == 1:
            return 3, events | {"rejected": 1, "sent": 1}, 2
        case "refused":
            return 0, events | {"sent": 2}, 3
        case "stopped":
            return 6, events | {"pending": 2}, 1


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize(("route", "transport"), [*((route, "aiohttp") for route in ROUTES), (ROUTES[0], "httpx")])
def test_fault(
    project: QuickProject, monkeypatch: pytest.MonkeyPatch, route: str, fault: Fault, transport: str
) -> None:
    monkeypatch.setenv("LOADER_TRANSPORT", transport)
    act = fault.own.get(route) or fault.act
    assert act is not None
    with Wire(good(route), act) as wire:
        together = prepare(project, route, wire.url)
        ended = project.run()
    events = ended.destination()
    code, counts, requests = expected(route, fault, together)
    assert (ended.code, {key: events[key] for key in COUNTED}, len(wire.heads)) == (code, counts, requests), ended.err
    if code == 0 and requests > 2 // together and fault.of(route) != "refused" and len(wire.bodies) == requests:
        assert wire.bodies[0] == wire.bodies[1]
    assert ended.json["destinations"][0]["requests"] == requests
    assert "elsewhere.example/" not in ended.err + ended.out
