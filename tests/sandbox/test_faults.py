"""The faults: which requests they hit, what the client sees of them and what is stored."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import pytest

from loader.sandbox.faults import FaultError, from_json, from_text
from tests.sandbox.calls import (
    BULK,
    NOW,
    REST_KEY,
    ROUTES,
    command,
    good_request,
    post,
    post_batch,
    post_bloomreach,
    users,
)
from tests.support.sandbox import RunningSandbox, sandbox


def exchange(running: RunningSandbox, content: bytes) -> bytes:
    """In: the bytes of a request. Out: all bytes of the answer, until the sandbox closes."""
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(content)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def raw_request(close: bool = False) -> bytes:
    body = json.dumps(users()).encode()
    head = f"POST {BULK} HTTP/1.1\r\nHost: sandbox\r\nX-Authorization: {REST_KEY['X-Authorization']}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n{'Connection: close' if close else 'X-A: b'}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [("400", 400, 31), ("401", 401, 10), ("403", 403, 12), ("404", 404, 20), ("429", 429, 60), ("500", 500, 1),
     ("503", 503, 2)],
)  # fmt: skip
def test_batch_refuses_with_the_documents_codes(running: RunningSandbox, kind: str, status: int, code: int) -> None:
    running.faults([{"kind": kind}])
    answer = post_batch(running, users())
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert running.received() == []
    assert running.state()["faults"] == {kind: 1}
    assert running.state()["answers"] == {kind: 1}


@pytest.mark.parametrize("kind", ["400", "401", "403", "404", "429", "500", "503"])
def test_bloomreach_refuses_with_a_json_body(running: RunningSandbox, kind: str) -> None:
    running.faults([{"kind": kind}])
    answer = post_bloomreach(running, {"commands": [command()]})
    assert (answer.status_code, answer.json()["success"]) == (int(kind), False)
    assert answer.json().keys() == (
        {"success", "error"} if kind in ("401", "403") else {"success", "message", "errors"}
    )
    assert running.received() == []


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_refuses_with_its_providers_body(running: RunningSandbox, route: str) -> None:
    path, body, headers = good_request(route)
    statuses = [400, 401, 403, 404, 429, 500, 503]
    running.faults([{"kind": str(status), "at": [number]} for number, status in enumerate(statuses, 1)])
    answers = [post(running, path, body, headers) for _ in statuses]
    assert [answer.status_code for answer in answers] == statuses
    shapes = {
        "batch": {"code", "message"}, "appizer": {"error", "message", "code"}, "bloomreach": {"success"},
        "pushengage": {"error"},
    }  # fmt: skip
    assert all(answer.json().keys() >= shapes[route.partition(" ")[0]] for answer in answers)
    assert running.received() == []
    assert post(running, path, body, headers).is_success


@pytest.mark.parametrize(
    ("kind", "stored"), [("lost_answer", 1), ("reset_before", 0), ("truncated", 1), ("never", 1), ("slow", 1)]
)
@pytest.mark.parametrize("route", ROUTES)
def test_every_route_meets_the_faults_of_the_connection(
    running: RunningSandbox, route: str, kind: str, stored: int
) -> None:
    path, body, headers = good_request(route)
    running.faults([{"kind": kind, "seconds": 0.01}])
    try:
        answer = httpx.post(running.url + path, json=body, headers=headers, timeout=0.5, verify=False)
    except httpx.TransportError:
        assert kind != "slow"
    else:
        assert kind == "slow"
        assert answer.is_success
    assert len(running.received()) == stored


@pytest.mark.parametrize(
    ("route", "status", "said"),
    [
        ("batch bulk", 201, {"code": 1, "message": "SERVER_ERROR: sandbox: refused by a fault"}),
        ("appizer", 200, {"success": False, "processed_count": 0, "message": "sandbox: refused by a fault"}),
        ("bloomreach events", 200, {"success": False, "message": "sandbox: refused by a fault",
                                    "errors": ["sandbox: refused by a fault"]}),
        ("pushengage", 200, {"error_code": 1001, "data": {}}),
    ],
)  # fmt: skip
def test_a_status_of_success_can_carry_a_failure(
    running: RunningSandbox, route: str, status: int, said: dict[str, Any]
) -> None:
    path, body, headers = good_request(route)
    running.faults([{"kind": "false_200"}])
    answer = post(running, path, body, headers)
    assert (answer.status_code, answer.json()) == (status, said)
    assert running.received() == []


def test_429_can_say_when_to_come_back(running: RunningSandbox) -> None:
    running.faults([{"kind": "429", "retry_after": 2, "first": 1}])
    assert post_batch(running, users()).headers["Retry-After"] == "2"
    running.faults([{"kind": "429"}])
    assert "Retry-After" not in post_batch(running, users()).headers


@pytest.mark.parametrize("route", ROUTES)
def test_a_page_of_html_stands_for_a_gateway(running: RunningSandbox, route: str) -> None:
    path, body, headers = good_request(route)
    running.faults([{"kind": "502_html", "first": 1}, {"kind": "html_200"}])
    answers = [post(running, path, body, headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [502, 201 if route.startswith("batch") else 200]
    assert all(answer.headers["Content-Type"] == "text/html" and "<html>" in answer.text for answer in answers)
    assert running.received() == []


def test_a_lost_answer_is_stored_and_not_one_byte_comes_back(running: RunningSandbox) -> None:
    running.faults([{"kind": "lost_answer"}])
    assert exchange(running, raw_request()) == b""
    with pytest.raises(httpx.RemoteProtocolError):
        post_batch(running, users())
    assert len(running.received("batch")) == 2
    assert [request["status"] for request in running.requests()] == [None, None]
    assert running.state()["answers"] == {}


def test_a_reset_comes_before_anything_is_stored(running: RunningSandbox) -> None:
    running.faults([{"kind": "reset_before"}])
    head = raw_request().partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    with pytest.raises(ConnectionResetError):
        exchange(running, head)
    with pytest.raises(httpx.TransportError):
        post_batch(running, users())
    assert running.received() == []
    assert [request["fault"] for request in running.requests()] == ["reset_before"] * 2


def test_a_truncated_answer_is_stored_and_cut_in_its_body(running: RunningSandbox) -> None:
    running.faults([{"kind": "truncated"}])
    head, _, body = exchange(running, raw_request()).partition(b"\r\n\r\n")
    (line,) = running.received("batch")
    whole = json.dumps({"token": line["token"]}, separators=(",", ":")).encode()
    assert head.startswith(b"HTTP/1.1 201 ")
    assert f"Content-Length: {len(whole)}".encode() in head
    assert body == whole[: len(whole) // 2]
    with pytest.raises(httpx.RemoteProtocolError):
        post_batch(running, users())


def test_never_is_stored_and_then_silent_until_the_client_leaves(running: RunningSandbox) -> None:
    running.faults([{"kind": "never"}])
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(running.url + BULK, json=users(), headers=REST_KEY, timeout=0.2)
    assert len(running.received("batch")) == 1
    assert running.requests()[0]["status"] is None


def test_slow_waits_and_then_answers_as_usual(running: RunningSandbox) -> None:
    running.faults([{"kind": "slow", "seconds": 0.5}])
    begin = time.monotonic()
    assert post_batch(running, users()).status_code == 201
    assert time.monotonic() - begin >= 0.5
    running.faults([])
    begin = time.monotonic()
    assert post_batch(running, users()).status_code == 201
    assert time.monotonic() - begin < 0.5


def partly(running: RunningSandbox, **fields: Any) -> list[bool]:
    running.reset()
    running.faults([{"kind": "partial", **fields}])
    answer = post_bloomreach(running, {"commands": [command(timestamp=n) for n in range(50)]})
    assert answer.status_code == 200
    assert answer.json()["success"] is True
    results = answer.json()["results"]
    refused = ["sandbox: refused by the partial fault"]
    assert all(result == {"success": True} or result["errors"] == refused for result in results)
    taken = [n for n, result in enumerate(results) if result["success"]]
    assert [line["command"]["data"]["timestamp"] for line in running.received("bloomreach")] == taken
    return [result["success"] for result in results]


def test_partial_refuses_commands_by_share_and_seed(running: RunningSandbox) -> None:
    half = partly(running)
    assert 10 < sum(half) < 40
    assert partly(running) == half
    assert partly(running, seed=2) != half
    assert sum(partly(running, share=0)) == 50
    assert sum(partly(running, share=1)) == 0


@pytest.mark.parametrize("route", [route for route in ROUTES if route != "bloomreach batch"])
def test_partial_refuses_the_whole_request_where_no_event_can_be_refused_alone(
    running: RunningSandbox, route: str
) -> None:
    path, body, headers = good_request(route)
    running.faults([{"kind": "partial", "share": 1, "first": 1}, {"kind": "partial", "share": 0}])
    refused, taken = (post(running, path, body, headers) for _ in range(2))
    assert refused.status_code == (200 if route.startswith("bloomreach") else 400)
    assert "sandbox: refused by the partial fault" in refused.text
    assert (taken.is_success, len(running.received())) == (True, 1)


def test_a_fault_can_be_for_one_provider(running: RunningSandbox) -> None:
    running.faults([{"kind": "503", "provider": "bloomreach"}])
    assert post_batch(running, users()).status_code == 201
    assert post_bloomreach(running, {"commands": [command()]}).status_code == 503


def statuses(running: RunningSandbox, count: int) -> list[int]:
    return [post_batch(running, users()).status_code for _ in range(count)]


def test_faults_are_chosen_by_first_and_at(running: RunningSandbox) -> None:
    running.faults([{"kind": "429", "first": 2}])
    assert statuses(running, 4) == [429, 429, 201, 201]
    running.faults([{"kind": "500", "at": [5, 7]}, {"kind": "503", "first": 1}])
    assert statuses(running, 4) == [500, 201, 500, 201]
    running.faults([{"kind": "503", "first": 1}])
    assert statuses(running, 2) == [503, 201]


def test_the_first_matching_fault_wins(running: RunningSandbox) -> None:
    running.faults([{"kind": "429", "at": [2]}, {"kind": "503"}])
    assert statuses(running, 3) == [503, 429, 503]


def test_a_probability_is_repeatable_and_about_right(running: RunningSandbox) -> None:
    def hit(seed: int) -> list[int]:
        running.reset()
        running.faults([{"kind": "503", "probability": 0.3, "seed": seed}])
        return statuses(running, 60)

    once = hit(1)
    assert 5 < once.count(503) < 35
    assert hit(1) == once
    assert hit(2) != once


def test_two_faults_of_one_seed_hit_different_requests() -> None:
    hit = {
        kind: {number for number in range(1000) if from_text(f"{kind}:p=0.2").hits(number, number, "batch")}
        for kind in ("429", "500")
    }
    assert all(150 < len(numbers) < 250 for numbers in hit.values())
    assert hit["500"] - hit["429"]


def test_faults_of_the_command_line() -> None:
    with sandbox(
        "--clock", NOW, "--fault", "429:first=1:retry_after=2", "--fault", "slow:at=3,4:seconds=0.1"
    ) as running:
        answers = [post_batch(running, users()) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [429, 201, 201, 201]
        assert answers[0].headers["Retry-After"] == "2"
        assert running.state()["faults"] == {"429": 1, "slow": 2}


def test_text_and_json_say_the_same() -> None:
    assert from_text("lost_answer:p=0.2:seed=7") == from_json({"kind": "lost_answer", "probability": 0.2, "seed": 7})
    assert from_text("slow:at=1,4,9:seconds=0.5") == from_json({"kind": "slow", "at": [1, 4, 9], "seconds": 0.5})
    assert from_text("partial:share=0.25:first=3") == from_json({"kind": "partial", "share": 0.25, "first": 3})
    assert from_text("short:provider=appizer") == from_json({"kind": "short", "provider": "appizer"})


@pytest.mark.parametrize(
    "text",
    ["", "418", "429:first", "429:first=x", "429:first=1.5", "429:at=a", "429:p=1.5", "429:p=-1", "429:p=nan",
     "429:first=inf", "429:colour=1", "partial:share=2", "503:provider=other"],
)  # fmt: skip
def test_what_is_not_a_fault_is_said(text: str, running: RunningSandbox) -> None:
    with pytest.raises(FaultError, match=r"\w"):
        from_text(text)
    content = {"kind": text, "first": "x"}
    answer = httpx.post(running.url + "/_sandbox/faults", json=[content])
    assert answer.status_code == 400
    assert answer.json()["error"]
