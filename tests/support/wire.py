"""A server on a real socket that answers as it is told, however badly."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Self

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset."""
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


class Exchange:
    """One request, whose head has arrived, and the way back."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head, self.reader, self.writer = head, reader, writer
        self.written = 0

    async def body(self) -> bytes:
        """The request's body."""
        lines = self.head.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
        return await self.reader.readexactly(length)

    async def write(self, data: bytes) -> None:
        """Write a piece of the answer, as it is."""
        self.writer.write(data)
        await self.writer.drain()
        self.written += len(data)


# What becomes of one request. True: the connection serves the next one.
Act = Callable[["Wire", Exchange], Awaitable[bool]]


class Wire:
    """A server that lets its first requests meet `acts`, one after the other, and answers all others well.

    `good`: a request's body → status and body of the answer. `heads`, `bodies`: of the requests, as far as they were
    read. Use it in a `with`; it runs in a thread of its own.
    """

    def __init__(
        self, good: Callable[[bytes], tuple[int, bytes]], *acts: Act, secure: ssl.SSLContext | None = None
    ) -> None:
        self.good, self.acts = good, list(acts)
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.exchanges: list[Exchange] = []
        self.port = 0
        self._secure = secure
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._secure else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)
        self._loop.close()

    async def answer(self, exchange: Exchange) -> bool:
        """Answer a request well."""
        await exchange.write(http(*self.good(await self.read(exchange))))
        return True

    async def read(self, exchange: Exchange) -> bytes:
        """The body of a request, which is kept."""
        self.bodies.append(await exchange.body())
        return self.bodies[-1]

    async def _run(self) -> None:
        async with serving(self._serve, ssl=self._secure) as self.port:
            self._ready.set()
            await self._ended.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            exchange = Exchange(await reader.readuntil(b"\r\n\r\n"), reader, writer)
            self.heads.append(exchange.head)
            self.exchanges.append(exchange)
            act = self.acts.pop(0) if self.acts else Wire.answer
            if not await act(self, exchange):
                return


def http(status: int, body: bytes, *headers: str) -> bytes:
    """A complete answer."""
    lines = [f"HTTP/1.1 {status} Words", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
