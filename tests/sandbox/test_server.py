"""The server: its start and end, HTTP as it comes, what it tells about the requests, and hostile clients."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sandbox.calls import (
    BULK,
    NOW,
    REST_KEY,
    ROUTES,
    TOKEN,
    command,
    good_request,
    post,
    post_batch,
    post_bloomreach,
    users,
)
from tests.sandbox.test_faults import exchange, raw_request
from tests.support.sandbox import RunningSandbox, sandbox


def start(*args: str) -> subprocess.Popen[str]:
    command_line = [sys.executable, "-m", "loader.sandbox", *args]
    pipe = subprocess.PIPE
    return subprocess.Popen(command_line, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@contextlib.contextmanager
def started(*args: str) -> Iterator[subprocess.Popen[str]]:
    process = start(*args)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    content = json.loads(process.stdout.readline())
    assert content.keys() == {"url"}
    url = content["url"]
    assert isinstance(url, str)
    return url


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_even_while_clients_are_connected(number: signal.Signals) -> None:
    with started("--fault", "never") as process:
        url = ready(process)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url + BULK, content=b"[]", timeout=0.1)
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))):
            process.send_signal(number)
            out, err = process.communicate(timeout=5)
        assert (process.returncode, out, err) == (0, "", "")


def test_the_end_of_stdin_ends_it_only_when_asked() -> None:
    with started("--parent-pid-watch") as watching, started() as deaf:
        for process in (watching, deaf):
            ready(process)
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
        assert watching.wait(5) == 0
        time.sleep(0.1)
        assert deaf.poll() is None


def test_what_cannot_start_says_why() -> None:
    for args in (["--fault", "418"], ["--clock", "yesterday"]):
        with started(*args) as process:
            out, err = process.communicate(timeout=5)
            assert (process.returncode, out) == (2, "")
            assert len(err.splitlines()) == 1
    with started() as first, started("--port", ready(first).rpartition(":")[2]) as second:
        assert second.wait(5) == 2


def test_a_connection_carries_many_requests(running: RunningSandbox) -> None:
    assert exchange(running, raw_request() * 3 + raw_request(close=True)).count(b"HTTP/1.1 201") == 4
    assert len(running.received("batch")) == 4


def test_chunked_bodies_are_read(running: RunningSandbox) -> None:
    parts = [json.dumps(users()).encode()[n : n + 7] for n in range(0, 60, 7)]
    answer = httpx.post(running.url + BULK, content=iter(parts), headers=REST_KEY)
    assert answer.status_code == 201
    assert answer.request.headers["Transfer-Encoding"] == "chunked"


def test_a_client_may_ask_before_it_sends_its_body(running: RunningSandbox) -> None:
    head, _, body = raw_request(close=True).partition(b"\r\n\r\n")
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")


def test_requests_in_flight_are_counted() -> None:
    async def five_at_once(url: str) -> list[int]:
        async with httpx.AsyncClient() as client:
            calls = [client.post(url + BULK, json=users(), headers=REST_KEY) for _ in range(5)]
            return [answer.status_code for answer in await asyncio.gather(*calls)]

    with sandbox("--clock", NOW, "--fault", "slow:seconds=0.4") as running:
        begin = time.monotonic()
        assert asyncio.run(five_at_once(running.url)) == [201] * 5
        assert time.monotonic() - begin < 1.9
        assert running.state()["max_in_flight"] == 5


def test_the_state_adds_up(running: RunningSandbox) -> None:
    running.faults([{"kind": "429", "at": [2]}])
    post_batch(running, users())
    post_batch(running, users())
    post_batch(running, [])
    post_bloomreach(running, {"commands": [command(), command(), {"name": "system/time"}, {"name": "other"}]})
    httpx.get(running.url + "/elsewhere")
    assert running.state() == {
        "requests": {"appizer": 0, "batch": 3, "bloomreach": 1, "pushengage": 0},
        "answers": {"201": 1, "429": 1, "400": 1, "200": 1, "404": 1},
        "events": {"appizer": 0, "batch": 1, "bloomreach": 1, "pushengage": 0},
        "duplicates": 1,
        "warnings": {},
        "faults": {"429": 1},
        "max_in_flight": 1,
    }


def test_requests_are_logged_in_their_order(running: RunningSandbox) -> None:
    running.faults([{"kind": "503", "at": [2]}])
    body = json.dumps(users())
    begin = time.time()
    for _ in range(2):
        post_batch(running, body)
    assert httpx.post(running.url + "/elsewhere", content=b"abc").json()["error"]
    first, second, third = running.requests()
    assert begin <= first.pop("at") <= second.pop("at") <= third.pop("at") <= time.time()
    digest = hashlib.sha256(body.encode()).hexdigest()
    common = {"provider": "batch", "bytes": len(body), "sha256": digest}
    assert first == {"request": 1, "status": 201, "events": 1, "fault": None, **common}
    assert second == {"request": 2, "status": 503, "events": 0, "fault": "503", **common}
    assert third == {
        "request": 3, "status": 404, "events": 0, "fault": None, "provider": None, "bytes": 3,
        "sha256": hashlib.sha256(b"abc").hexdigest(),
    }  # fmt: skip


def test_received_is_json_lines_of_one_provider_or_all(running: RunningSandbox) -> None:
    post_batch(running, [{"id": "a", "events": [{"name": "ue.one"}, {"name": "ue.two"}]}])
    post_bloomreach(running, {"commands": [command()]})
    answer = httpx.get(running.url + "/_sandbox/received?provider=batch")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line)["event"]["name"] for line in answer.text.splitlines()] == ["ue.one", "ue.two"]
    assert [line["provider"] for line in running.received()] == ["batch", "batch", "bloomreach"]
    assert httpx.get(running.url + "/_sandbox/received?provider=other").status_code == 400


def test_a_reset_forgets_everything_but_the_clock(running: RunningSandbox) -> None:
    running.faults([{"kind": "503", "at": [2]}])
    post_bloomreach(running, {"commands": [command()]})
    running.reset()
    assert running.requests() == running.received() == []
    post_bloomreach(running, {"commands": [command()]})
    assert post_batch(running, users(time=NOW)).status_code == 201
    assert running.state()["duplicates"] == 0
    assert running.requests()[0]["request"] == 1


def test_the_clock_can_name_a_zone(running: RunningSandbox) -> None:
    running.clock("2020-01-01T02:00:00+02:00")
    assert post_batch(running, users(time="2020-01-01T00:00:00")).status_code == 201
    assert post_batch(running, users(time="2020-01-01T00:00:01")).status_code == 400


def test_the_clock_is_moved_whether_it_stands_still_or_not(running: RunningSandbox) -> None:
    def takes(time: str) -> bool:
        return post_batch(running, users(time=time)).is_success

    running.advance(3600.5)
    assert takes("2012-08-13T00:00:00")
    assert not takes("2012-08-13T00:00:01")
    running.advance(-3600.5)
    assert not takes("2012-08-13T00:00:00")
    running.clock(None)
    running.advance(-5 * 24 * 3600)
    five_days_ago = datetime.now(UTC) - timedelta(days=5)
    assert takes((five_days_ago - timedelta(minutes=1)).isoformat()[:19])
    assert not takes((five_days_ago + timedelta(minutes=1)).isoformat()[:19])


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "clock", b'{"now": "yesterday"}', 400),
        ("POST", "clock", b'{"now": 5}', 400),
        ("POST", "clock", b"{}", 400),
        ("POST", "clock", b'{"advance": "1"}', 400),
        ("POST", "clock", b'{"advance": true}', 400),
        ("POST", "clock", b'{"advance": 1e300}', 400),
        ("POST", "clock", b'{"advance": -1e12}', 400),
        ("POST", "clock", b'{"advance": 1, "now": null}', 400),
        ("POST", "clock", b"{", 400),
        ("POST", "faults", b"{}", 400),
        ("POST", "faults", b"[5]", 400),
        ("GET", "reset", b"", 404),
        ("GET", "other", b"", 404),
    ],
)
def test_a_wrong_admin_request_is_said(
    running: RunningSandbox, method: str, path: str, body: bytes, status: int
) -> None:
    answer = httpx.request(method, f"{running.url}/_sandbox/{path}", content=body)
    assert (answer.status_code, answer.json().keys()) == (status, {"error"})
    assert running.requests() == []


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not HTTP at all\r\n\r\n",
        b"GET /\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /1.0/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    ],
)
def test_bad_http_is_answered_and_survived(running: RunningSandbox, content: bytes) -> None:
    assert exchange(running, content).startswith(b"HTTP/1.1 4")
    assert post_batch(running, users()).status_code == 201


def test_a_client_that_leaves_in_the_middle_stores_nothing(running: RunningSandbox) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(raw_request()[:-5])
    assert post_batch(running, users()).status_code == 201
    assert len(running.received()) == 1


def test_odd_targets_are_survived(running: RunningSandbox) -> None:
    for target in (b"http://[", b"*", b"//", b"/1.0", b"/track", b"/%00?%ff", b"/_sandbox/received?provider=%ff"):
        answer = exchange(running, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 40")
    answer = exchange(running, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404")


def test_bodies_over_64_mb_are_refused(running: RunningSandbox) -> None:
    head = f"POST {BULK} HTTP/1.1\r\nHost: a\r\nContent-Length: {64 * 1024 * 1024 + 1}\r\n\r\n"
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")

    megabyte = b"x" * 1024 * 1024
    chunked = f"POST {BULK} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(chunked)
        for _ in range(65):
            connection.sendall(b"100000\r\n" + megabyte + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert running.state()["answers"] == {"413": 2}


# Any JSON, and some values that are near to good ones.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5) | st.sampled_from(["9" * 400, "1e400", "2012-08-12T23:00:00Z", "\x00", "ue.a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_a_body_is_answered(shared: RunningSandbox, route: str, data: st.DataObject) -> None:
    path, body, headers = good_request(route)
    place = body = json.loads(json.dumps(body))
    while place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            place[key] = data.draw(JSON)
            break
        place = place[key]
    answer = post(shared, path, body, headers)
    assert answer.status_code in {200, 201, 400, 429}
    answer.json()


def test_deeply_nested_bodies_are_refused(running: RunningSandbox) -> None:
    for depth in (200, 500, 1_000, 1_020, 100_000):
        nested = "[" * depth + "]" * depth
        value = f'{{"commands": [{{"name": "customers", "data": {nested}}}]}}'
        assert post(running, "/track/v2/projects/sandbox-project/batch", value, TOKEN).status_code in (200, 400)
        assert post_batch(running, nested).status_code == 400
