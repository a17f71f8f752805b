"""Whether a request can have reached the provider, by what the network does: over both transports, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import pytest
import trustme

from loader.providers.base import Answer, Request
from loader.sending.client import NoAnswer, NothingSent
from loader.sending.http import HttpClient

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BODY = b"x" * 300_000
HEADERS = {"X-Key": "k", "Content-Type": "application/json"}
COMPLETE = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\n\r\n{}"


@pytest.fixture(params=["aiohttp", "httpx"], autouse=True)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LOADER_TRANSPORT", request.param)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return str(request.param)


async def whole_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(len(BODY))
    return head


def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.asynccontextmanager
async def serving(serve: Serve, **options: Any) -> AsyncIterator[int]:
    """A server; its port. Its connections are closed with it."""
    tasks: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(connection(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 20, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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


@pytest.mark.parametrize(
    "serve", [never, reset_at_once, reset_inside, reset_after, closed_after, half_a_head, half_a_body, no_http]
)
def test_the_request_may_have_arrived(serve: Serve) -> None:
    [error] = sent(serve, timeout=0.5)
    assert isinstance(error, NoAnswer), error
    assert "127.0.0.1" not in str(error)
    assert "X-Key" not in str(error)


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


def test_a_redirect_is_an_answer() -> None:
    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await whole_request(reader)
        writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")

    [answer] = sent(elsewhere)
    assert isinstance(answer, Answer)
    assert answer.status == 307


def test_no_more_connections_than_were_asked_for() -> None:
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
            async with HttpClient(address, 4, 5.0) as client:
                await asyncio.gather(*(client.send(Request("POST", address, HEADERS, BODY)) for _ in range(40)))

    asyncio.run(all_of_it())
    assert most <= 4
