"""Whether a request can have reached the provider, by what the network does: over both transports, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
import trustme

from loader.providers.base import Answer, Request
from loader.sending.client import NoAnswer, NothingSent
from loader.sending.http import MOST_BYTES, MOST_WITHOUT_REQWEST, HttpClient
from tests.support.wire import Serve, reset, serving

BODY = b"x" * 300_000
HEADERS = {"X-Key": "k", "Content-Type": "application/json"}
COMPLETE = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\n\r\n{}"


@pytest.fixture(params=["reqwest", "httpx"], autouse=True)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LOADER_TRANSPORT", request.param)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return str(request.param)


async def whole_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(len(BODY))
    return head


def sent(
    serve: Serve,
    *,
    times: int = 1,
    timeout: float = 5.0,
    url: str = "http://127.0.0.1:{port}/x",
    **options: Any,
) -> list[object]:
    """What became of as many requests, one after the other: answers or errors."""

    async def all_of_it() -> list[object]:
        found: list[object] = []
        async with serving(serve, **options) as port:
            address = url.format(port=port)
            async with HttpClient(address, 2, timeout) as client:
                for _ in range(times):
                    try:
                        found.append(await client.send(Request("POST", address, HEADERS, BODY)))
                    except (NothingSent, NoAnswer) as error:
                        found.append(error)
        return found

    return asyncio.run(all_of_it())


async def never(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await whole_request(reader)
    await reader.read()


async def reset_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def reset_inside(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    reset(writer)


async def reset_after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await whole_request(reader)
    reset(writer)


async def closed_after(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await whole_request(reader)


async def half_a_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await whole_request(reader)
    writer.write(b"HTTP/1.1 201 Cre")


async def half_a_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await whole_request(reader)
    writer.write(COMPLETE[:-1])


async def no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await whole_request(reader)
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await whole_request(reader)
    while True:
        writer.write(b"H")
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("serve", [never, reset_inside, reset_after, closed_after, half_a_head, half_a_body, no_http])
def test_the_request_may_have_arrived(serve: Serve) -> None:
    [error] = sent(serve, timeout=0.5)
    assert isinstance(error, NoAnswer), error
    assert "127.0.0.1" not in str(error)
    assert "X-Key" not in str(error)


def test_a_connection_that_is_reset_before_anything_is_read() -> None:
    [error] = sent(reset_at_once)
    # The one or the other, as the reset comes before the request leaves or behind it.
    assert isinstance(error, (NothingSent, NoAnswer)), error


def test_a_server_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.sending.http.CONNECT_SECONDS", 0.5)
    [error] = sent(drips, timeout=0.3)
    assert isinstance(error, NoAnswer)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/x", "http://no-such-host.invalid/x", "https://127.0.0.1:{port}/x"],
    ids=["refused", "no name", "no TLS"],
)
def test_nothing_was_sent(url: str) -> None:
    async def closes(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    [error] = sent(closes, url=url)
    assert isinstance(error, NothingSent), error


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("timeout", [0.3, 1.0])
def test_a_connection_that_does_not_come_in_time(scheme: str, timeout: float) -> None:
    found: list[object] = []

    async def all_of_it(address: str) -> None:
        async with HttpClient(address, 1, timeout) as client:
            try:
                found.append(await client.send(Request("POST", address, HEADERS, b"{}")))
            except (NothingSent, NoAnswer) as error:
                found.append(error)

    with socket.socket() as listening, contextlib.ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0 if scheme == "http" else 5)
        for _ in range(4 if scheme == "http" else 0):
            # The kernel takes no more connections than may wait to be accepted.
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        asyncio.run(all_of_it(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}/x"))
    assert isinstance(found[0], NothingSent), found


def test_an_address_of_which_no_request_can_be_made(transport: str) -> None:
    if transport == "httpx":
        pytest.skip("it asks the socket, which raises what is no error of a connection")
    [error] = sent(never, url="http://127.0.0.1:99999/x")
    assert isinstance(error, NothingSent), error


def test_certificates_that_nobody_finds(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if transport == "httpx":
        pytest.skip("it raises an OSError when it is made")
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    [error] = sent(never, url="https://127.0.0.1:{port}/x")
    assert isinstance(error, NothingSent), error


def test_bytes_that_are_no_text_are_no_answer_or_one() -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await whole_request(reader)
        writer.write(b"HTTP/1.1 201 Cr\xff\r\nX: \xff\r\nSet-Cookie: \xff=\xff\r\nContent-Length: 2\r\n\r\n{}")

    for found in sent(answers, times=2):
        assert isinstance(found, (Answer, NoAnswer))
        assert isinstance(found, Answer) or str(found).isascii()


def test_an_error_that_quotes_the_answer_is_one_line() -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await whole_request(reader)
        writer.write(b"HTTP/1.1 201 OK\r\n" + b"bad header line\xff" * 40 + b"\r\n\r\n")

    [error] = sent(answers)
    assert isinstance(error, NoAnswer)
    assert len(str(error).splitlines()) == 1
    assert len(str(error)) < 300


@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_is_checked(trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if trusted:
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    heads: list[bytes] = []

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await whole_request(reader))
        writer.write(COMPLETE)

    [found] = sent(answers, url="https://127.0.0.1:{port}/x", ssl=context)
    assert isinstance(found, Answer if trusted else NothingSent), found
    assert len(heads) == trusted


def test_an_answer_is_complete_and_nothing_is_added_to_requests() -> None:
    heads: list[bytes] = []

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await whole_request(reader))
            writer.write(COMPLETE)

    answers_read = sent(answers, times=3)
    assert [(a.status, a.body) for a in answers_read if isinstance(a, Answer)] == [(201, b"{}")] * 3
    names = [sorted(line.split(b":")[0].lower() for line in head.splitlines()[1:] if line) for head in heads]
    known = [b"accept", b"accept-encoding", b"content-length", b"content-type", b"host", b"user-agent", b"x-key"]
    assert [[name for name in one if name != b"connection"] for one in names] == [known] * 3


@pytest.mark.parametrize("location", [b"http://127.0.0.1:1/", b"nonsense: 0", b"http://[", b"http:/\xffx"])
def test_a_redirect_is_an_answer(location: bytes) -> None:
    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await whole_request(reader)
        writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")

    [answer] = sent(elsewhere)
    assert isinstance(answer, Answer)
    assert answer.status == 307


@pytest.mark.parametrize("asked", [4, 64])
def test_no_more_connections_than_were_asked_for(transport: str, asked: int) -> None:
    open_now, most = 0, 0

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            while True:
                await whole_request(reader)
                await asyncio.sleep(0.01)
                writer.write(COMPLETE)
        finally:
            open_now -= 1

    async def all_of_it() -> None:
        async with serving(counted) as port:
            address = f"http://127.0.0.1:{port}/x"
            async with HttpClient(address, asked, 5.0) as client:
                requests = (client.send(Request("POST", address, HEADERS, BODY)) for _ in range(4 * asked))
                await asyncio.gather(*requests)

    asyncio.run(all_of_it())
    assert most == (asked if transport == "reqwest" else min(asked, MOST_WITHOUT_REQWEST))


def compressed(body: bytes) -> bytes:
    gzip = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    return gzip.compress(body) + gzip.flush()


def headed(body: bytes, encoding: str = "gzip") -> bytes:
    head = f"HTTP/1.1 201 Created\r\nContent-Length: {len(body)}\r\nContent-Encoding: {encoding}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (headed(compressed(b"{}")), b"{}"),
        (headed(compressed(b"{}"), "GZIP"), b"{}"),
        (headed(b"{}", "utf-8"), b"{}"),
        (headed(b"{}"), None),
        (headed(compressed(b"{}")[:-3]), None),
        (headed(compressed(b"0" * (MOST_BYTES + 1))), None),
        (headed(b""), None),
    ],
    ids=["gzip", "upper case", "unknown", "not gzip", "gzip cut short", "too long", "nothing"],
)
def test_how_an_answer_is_written(answer: bytes, body: bytes | None) -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await whole_request(reader)
        writer.write(answer)

    [found] = sent(answers)
    assert isinstance(found, NoAnswer) if body is None else isinstance(found, Answer) and found.body == body


@pytest.mark.parametrize("bomb", [False, True])
def test_an_answer_without_end_takes_little_memory(bomb: bool) -> None:
    written = 0
    zeros = b"0" * 500_000_000 if bomb else b""
    packed = headed(compressed(zeros)) if bomb else b""
    del zeros

    async def goes_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await whole_request(reader)
        if bomb:
            writer.write(packed)
            return
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n\r\n")
        while True:
            writer.write(b"x" * 100_000)
            await writer.drain()
            written += 100_000

    tracemalloc.start()
    try:
        [error] = sent(goes_on)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(error, NoAnswer)
    assert "10,000,000" in str(error)
    assert most < 5 * MOST_BYTES
    # What the kernel's buffers hold comes on top.
    assert written < 3 * MOST_BYTES
