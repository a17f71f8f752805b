"""The other side of the race: takes every request, counts, and answers as the provider would. Never the bottleneck.

`python -m tests.bench.sink [--keep FILE] [--delay SECONDS]` prints its port. `GET /counts` answers what came since the
last such call. Events are counted, not parsed; `--keep` writes the bodies to a file, one a line, for those who want to
compare them; `--delay` holds back each answer, as a provider does that is far away.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from pathlib import Path
from typing import BinaryIO

import httptools

# A quote inside a JSON text is escaped, so that this stands in no value; nor does `"name":` or `"event_name":`.
_COMMAND = re.compile(rb'"command_id":"([^"]*)"')
_TAKEN = b'{"error_code":0,"data":{}}'


class Sink:
    """What all connections share."""

    def __init__(self, keep: BinaryIO | None) -> None:
        self.requests = self.bytes = self.events = 0
        self.first = 0.0
        self._keep = keep

    def answer(self, url: bytes, body: bytes) -> bytes:
        """The whole HTTP answer to one request."""
        if url == b"/counts":
            counts = {"requests": self.requests, "bytes": self.bytes, "events": self.events, "first": self.first}
            self.requests = self.bytes = self.events = 0
            if self._keep is not None:
                self._keep.flush()
            return _http(b"200 OK", json.dumps(counts).encode())
        if not self.requests:
            self.first = time.time()
        self.requests += 1
        self.bytes += len(body)
        if self._keep is not None:
            self._keep.write(body + b"\n")
        if url.startswith(b"/track/"):
            commands = _COMMAND.findall(body)
            self.events += len(commands)
            results = b",".join([b'{"success":true,"command_id":"%b"}' % command for command in commands])
            return _http(b"200 OK", b'{"success":true,"results":[%b]}' % results)
        if url == b"/api/v1/events":
            self.events += 1
            return _http(b"200 OK", _TAKEN)
        if url == b"/v1/events/batch":
            count = body.count(b'"event_name":')
            self.events += count
            return _http(b"200 OK", b'{"success":true,"processed_count":%d}' % count)
        self.events += body.count(b'"name":')
        return _http(b"201 Created", b'{"token":"token-%d"}' % self.requests)


def _http(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


class _Connection(asyncio.Protocol):
    def __init__(self, sink: Sink, delay: float) -> None:
        self._sink, self._delay = sink, delay
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url, self._body = url, []

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        answer = self._sink.answer(self._url, b"".join(self._body))
        if self._delay and self._url != b"/counts":
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, answer)
        else:
            self._transport.write(answer)


async def _serve(keep: BinaryIO | None, delay: float) -> None:
    sink = Sink(keep)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(sink, delay), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--delay", type=float, default=0.0)
    options = parser.parse_args()
    asyncio.run(_serve(None if options.keep is None else options.keep.open("wb"), options.delay))
