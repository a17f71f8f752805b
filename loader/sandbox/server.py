"""The sandbox's sockets: HTTP/1.1 on asyncio and h11, and the faults that need the connection itself.

Written on bare sockets because the faults are about them: a reset, half an answer, silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Iterable
from typing import Final, Literal

import h11
import orjson

from loader.sandbox.admin import PREFIX, administer
from loader.sandbox.bloomreach import ErrorForm
from loader.sandbox.faults import Fault, from_text
from loader.sandbox.rehearsal import Options, Rehearsal
from loader.sandbox.standin import Answer, json_answer

MAX_BODY: Final = 64 * 1024 * 1024
_READ: Final = 256 * 1024
_LINGER_SECONDS: Final = 2.0

Headers = list[tuple[str, str]]


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    parent_pid_watch: bool = False,
    faults: Iterable[str | Fault] = (),
    clock: str | None = None,
    batch_time: Literal["strict", "any"] = "strict",
    batch_strict_429: bool = False,
    appizer_unlimited: bool = False,
    bloomreach_errors: ErrorForm = "documented",
    bloomreach_empty_properties: bool = False,
    shuffle_results: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT, or, with `parent_pid_watch`, until standard input ends.

    In: where to listen (port 0 takes a free one), the faults (`KIND:key=value:...`, see `faults`), the clock
    (ISO 8601, where it stands still) and the switches of the stand-ins. Out: nothing; when it is ready, one line
    of JSON on stdout: `{"url": "http://127.0.0.1:PORT"}`.
    Raises ValueError for a fault or a clock that cannot be understood, OSError where it cannot listen.
    """
    options = Options(
        faults=[from_text(fault) if isinstance(fault, str) else fault for fault in faults],
        clock=clock,
        batch_any_time=batch_time == "any",
        batch_strict_429=batch_strict_429,
        appizer_unlimited=appizer_unlimited,
        bloomreach_errors=bloomreach_errors,
        bloomreach_empty_properties=bloomreach_empty_properties,
        shuffle_results=shuffle_results,
    )
    asyncio.run(_serve(host, port, Rehearsal(options), parent_pid_watch))


async def _serve(host: str, port: int, rehearsal: Rehearsal, parent_pid_watch: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if parent_pid_watch:
        threading.Thread(target=_watch_stdin, args=(loop, stop), daemon=True).start()

    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_Connection(rehearsal, reader, writer).run())
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, host, port, limit=_READ, backlog=1024)
    name = f"[{host}]" if ":" in host else host
    ready = {"url": f"http://{name}:{server.sockets[0].getsockname()[1]}"}
    sys.stdout.write(orjson.dumps(ready).decode() + "\n")
    sys.stdout.flush()

    await stop.wait()
    server.close()
    for connection in connections:
        connection.cancel()
    await asyncio.gather(*connections, return_exceptions=True)


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 65536):
            pass
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(stop.set)


class _TooLargeError(Exception):
    """A body over MAX_BODY."""


class _Connection:
    """One client. In: the rehearsal it takes part in, and its two streams."""

    def __init__(self, rehearsal: Rehearsal, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._rehearsal = rehearsal
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)
        self._method = ""

    async def run(self) -> None:
        """Answer one request after the other until one side has had enough."""
        try:
            while await self._exchange():
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as problem:
            await self._give_up(problem.error_status_hint, "this is not HTTP")
        except _TooLargeError:
            await self._give_up(413, f"the body is over {MAX_BODY} bytes")
        except OSError:
            pass
        finally:
            self._writer.close()

    async def _exchange(self) -> bool:
        """Read one request and answer it. Out: whether the connection can carry another one."""
        head = await self._event()
        if not isinstance(head, h11.Request):
            return False
        method = self._method = head.method.decode()
        path, _, query = head.target.decode().partition("?")
        if path.startswith(PREFIX):
            body = await self._body(head)
            answer = administer(self._rehearsal, method, path, query, body)
            if isinstance(answer, Answer):
                await self._send(answer)
            else:
                await self._send_lines(answer)
            return self._reusable()

        # A reset may put a new store in place while this request is in flight.
        store = self._rehearsal.store
        visit = self._rehearsal.begin(path)
        store.begin(visit)
        try:
            if visit.kind == "reset_before":
                self._reset()
                return False
            try:
                body = await self._body(head)
            except _TooLargeError:
                store.answered(visit, 413)
                raise
            if visit.fault is not None and visit.kind == "slow":
                await asyncio.sleep(visit.fault.seconds)
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
            answer = self._rehearsal.answer(visit, visit.request(method, path, headers, body))
            store.take(visit, answer.accepted)
            if visit.kind == "lost_answer":
                return False
            if visit.kind == "never":
                while await self._reader.read(_READ):
                    pass
                return False
            store.answered(visit, answer.status)
            await self._send(answer, half=visit.kind == "truncated")
            return visit.kind != "truncated" and self._reusable()
        finally:
            store.end()

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._reader.read(_READ))
        return event

    async def _body(self, head: h11.Request) -> bytes:
        size = int(dict(head.headers).get(b"content-length", b"0"))
        if size > MAX_BODY:
            raise _TooLargeError
        parts: list[bytes] = []
        size = 0
        while isinstance(event := await self._event(), h11.Data):
            parts.append(bytes(event.data))
            size += len(event.data)
            if size > MAX_BODY:
                raise _TooLargeError
        return b"".join(parts)

    def _write(self, *events: h11.Event) -> None:
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))

    async def _send(self, answer: Answer, *, half: bool = False, close: bool = False) -> None:
        """In: an answer; `half` keeps back the second half of its body, `close` announces that it is the last."""
        headers: Headers = [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body)))]
        headers += answer.headers.items()
        headers += [("Connection", "close")] if close else []
        body = answer.body[: len(answer.body) // 2] if half else answer.body
        events: list[h11.Event] = [h11.Response(status_code=answer.status, headers=headers)]
        if self._method != "HEAD":
            events.append(h11.Data(data=body))
        if not half:
            events.append(h11.EndOfMessage())
        self._write(*events)
        await self._writer.drain()

    async def _send_lines(self, lines: Iterable[bytes]) -> None:
        self._write(h11.Response(status_code=200, headers=[("Content-Type", "application/x-ndjson")]))
        for line in lines:
            self._write(h11.Data(data=line))
            await self._writer.drain()
        self._write(h11.EndOfMessage())
        await self._writer.drain()

    def _reusable(self) -> bool:
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def _reset(self) -> None:
        connection: socket.socket = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def _give_up(self, status: int, what: str) -> None:
        """Answer a request that cannot be read to its end, then close in a way that lets the answer arrive."""
        with contextlib.suppress(OSError, h11.LocalProtocolError):
            await self._send(json_answer(status, {"error": what}), close=True)
            self._writer.write_eof()
            # Closing with bytes unread would reset the connection and take the answer along.
            async with asyncio.timeout(_LINGER_SECONDS):
                while await self._reader.read(_READ):
                    pass
