"""Each fault of the table meets each route on a real socket: only what was certainly not taken is sent again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from typing import Any

import pytest
import trustme

from loader.providers import PROVIDERS
from tests.attack.faults import FAULTS, ROUTES, Fault, own, reset_after, says, well_then_closes
from tests.cli.conftest import QuickProject
from tests.support.project import credentials, simple_mapping
from tests.support.wire import Exchange, Wire, http

COUNTED = ("total", "sent", "in_doubt", "rejected", "pending")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are tested elsewhere; here they would take an hour."""
    monkeypatch.setattr("loader.sending.pacing.FIRST_WAIT", 0.01)
    monkeypatch.setattr("loader.sending.http.CONNECT_SECONDS", 1.0)
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


def to(route: str, url: str, **more: Any) -> dict[str, Any]:
    """A destination that goes a route."""
    provider, _, name = route.partition(" ")
    late = {} if provider == "bloomreach" else {"late_events": "omit_time"}
    settings = {"route": name, "timeout": "1s", "concurrency": 1, "rate": "10000/s", "give_up_after": "5s"}
    return {**credentials(provider, url), "name": named(route), **late, **settings, **more}


def named(route: str) -> str:
    """The name of the destination that goes a route."""
    return route.replace(" ", "-")


def at_once(route: str) -> int:
    """How many of two events of a user travel together."""
    return 1 if route in ("bloomreach single", "pushengage single") else 2


def two_events(project: QuickProject, *destinations: dict[str, Any]) -> None:
    """A project with two events of one user."""
    project.csv([["number", "user", "at"], *([n, "ann", "2026-03-01T10:00:00Z"] for n in (1, 2))])
    project.mapping(simple_mapping(*destinations))


def prepare(project: QuickProject, route: str, url: str, **more: Any) -> None:
    """A project with two events of one user for a route."""
    two_events(project, to(route, url, **more))


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


def alike(fault: Fault) -> list[tuple[str, ...]]:
    """The routes, those together that end with one exit code after a fault."""
    ends: dict[int, list[str]] = {}
    for route in ROUTES:
        ends.setdefault(expected(route, fault, at_once(route))[0], []).append(route)
    return [tuple(routes) for routes in ends.values()]


MEETINGS = [
    *((fault, routes, "reqwest") for fault in FAULTS for routes in alike(fault)),
    *((fault, ROUTES[:1], "httpx") for fault in FAULTS),
]


@pytest.mark.parametrize(
    ("fault", "routes", "transport"),
    MEETINGS,
    ids=[f"{fault.name}-{', '.join(routes)}-{transport}" for fault, routes, transport in MEETINGS],
)
def test_fault(
    project: QuickProject, monkeypatch: pytest.MonkeyPatch, fault: Fault, routes: tuple[str, ...], transport: str
) -> None:
    """Each route is a destination with a server of its own, whose first request meets the fault."""
    monkeypatch.setenv("LOADER_TRANSPORT", transport)
    with contextlib.ExitStack() as stack:
        wires = {}
        for route in routes:
            act = fault.own.get(route) or fault.act
            assert act is not None
            wires[route] = stack.enter_context(Wire(good(route), act))
        # A request that meets the close on its way is in doubt, as it should be: here the connection is idle for long.
        pace = {"rate": "4/s"} if fault.act is well_then_closes else {}
        two_events(project, *(to(route, wire.url, **pace) for route, wire in wires.items()))
        ended = project.run()
    for route, wire in wires.items():
        together = at_once(route)
        code, counts, requests = expected(route, fault, together)
        events = ended.destination(named(route))
        found = (ended.code, {key: events[key] for key in COUNTED}, len(wire.heads))
        assert found == (code, counts, requests), f"{route}: {ended.err}"
        if code == 0 and requests > 2 // together and fault.of(route) != "refused" and len(wire.bodies) == requests:
            assert wire.bodies[0] == wire.bodies[1]
        [told] = [one["requests"] for one in ended.json["destinations"] if one["name"] == named(route)]
        assert told == requests, f"{route}: {ended.err}"
    assert "elsewhere.example/" not in ended.err + ended.out


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("hint", "seconds"), [("1", 1.0), ("0.6", 0.6), ("date", 1.0)])
def test_a_hint_is_waited_for(project: QuickProject, status: int, hint: str, seconds: float) -> None:
    """On all routes at once, as what takes the time is to wait."""
    if hint == "date":
        # The provider's clock, not ours, says how long that is.
        hint = "Sat, 21 Nov 2026 00:00:01 GMT\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT"
    times: dict[str, list[float]] = {route: [] for route in ROUTES}

    def refusing(route: str) -> Wire:
        async def refuses(wire: Wire, exchange: Exchange) -> bool:
            times[route].append(time.monotonic())
            return await own(status, f"Retry-After: {hint}")[route](wire, exchange)

        async def takes(wire: Wire, exchange: Exchange) -> bool:
            times[route].append(time.monotonic())
            return await wire.answer(exchange)

        return Wire(good(route), refuses, takes)

    with contextlib.ExitStack() as stack:
        wires = {route: stack.enter_context(refusing(route)) for route in ROUTES}
        two_events(project, *(to(route, wire.url) for route, wire in wires.items()))
        assert project.run().code == 0
    for route, (refused, again) in times.items():
        assert seconds <= again - refused < seconds + 5, route


@pytest.mark.parametrize("hint", ["999999999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_who_asks_for_ever_is_not_waited_for(project: QuickProject, hint: str) -> None:
    with Wire(good("batch bulk"), own(429, f"Retry-After: {hint}")["batch bulk"]) as wire:
        prepare(project, "batch bulk", wire.url)
        stopped = project.run()
        assert (stopped.code, stopped.destination()["pending"]) == (5, 2)
        assert "next try" in stopped.err
        assert project.run().destination()["sent"] == 2


@pytest.mark.parametrize("transport", ["reqwest", "httpx"])
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "https://no-such-host.invalid", "https://127.0.0.1:{port}"],
    ids=["nobody listens", "no such name", "a certificate of nobody known"],
)  # fmt: skip
def test_what_cannot_leave_stays_pending(
    project: QuickProject, monkeypatch: pytest.MonkeyPatch, url: str, transport: str
) -> None:
    monkeypatch.setenv("LOADER_TRANSPORT", transport)
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(secure)
    with Wire(good("batch bulk"), secure=secure) as wire:
        prepare(project, "batch bulk", url.format(port=wire.port), give_up_after="100ms")
        ended = project.run()
        assert (ended.code, ended.json["status"], ended.destination()["pending"]) == (5, "stopped", 2)
        assert wire.heads == []


@pytest.mark.parametrize("transport", ["reqwest", "httpx"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_keys_do_not_follow_a_redirect(
    project: QuickProject, monkeypatch: pytest.MonkeyPatch, status: int, transport: str
) -> None:
    monkeypatch.setenv("LOADER_TRANSPORT", transport)
    with contextlib.ExitStack() as stack:
        elsewhere = stack.enter_context(Wire(good(ROUTES[0])))
        away = says(status, b"", f"Location: {elsewhere.url}/x")
        wires = {route: stack.enter_context(Wire(good(route), away)) for route in ROUTES}
        two_events(project, *(to(route, wire.url) for route, wire in wires.items()))
        ended = project.run()
        assert (ended.code, elsewhere.heads) == (6, [])
    for route, wire in wires.items():
        assert (len(wire.heads), ended.destination(named(route))["pending"]) == (1, 2), route


@pytest.mark.parametrize("together", [True, False])
def test_an_answer_that_nobody_asked_for_answers_nothing(project: QuickProject, together: bool) -> None:
    async def twice(wire: Wire, exchange: Exchange) -> bool:
        answer = http(*wire.good(await wire.read(exchange)))
        await exchange.write(answer * 2 if together else answer)
        await asyncio.sleep(0.1)
        await exchange.write(b"" if together else answer)
        return True

    with Wire(good("pushengage single"), twice, reset_after) as wire:
        prepare(project, "pushengage single", wire.url, rate="4/s")
        ended = project.run()
    assert (ended.code, ended.destination()["sent"], ended.destination()["in_doubt"]) == (7, 1, 1)
    assert len(wire.bodies) == 2
