"""The physical limit: bodies that were made beforehand, posted by a client that does nothing else.

    python -m tests.bench.peers.limit make PROVIDER CSV BODIES
    python -m tests.bench.peers.limit PROVIDER BODIES URL

Plain sockets, each with one request under way; answers are waited for and not parsed.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.peers.script import rows
from tests.bench.peers.shapes import SHAPES, dumps

CONNECTIONS = 8
_LENGTH = struct.Struct(">I")


def make(provider: str, source: str, to: Path) -> None:
    """Write the bodies of all rows of `source` to a file, each behind its length."""
    shape = SHAPES[provider]
    events = (shape.event(row, number) for number, row in enumerate(rows(source), 1))
    with to.open("wb") as file:
        while some := list(islice(events, shape.size)):
            body = dumps(shape.body(some))
            file.write(_LENGTH.pack(len(body)) + body)


def send_all(provider: str, bodies: Path, url: str) -> None:
    """Post each body of the file."""
    shape, at = SHAPES[provider], urlsplit(url)
    headers = "".join(f"{name}: {value}\r\n" for name, value in shape.headers.items())
    head = f"POST {shape.path} HTTP/1.1\r\nHost: {at.netloc}\r\n{headers}Content-Length: ".encode()
    free = [socket.create_connection((at.hostname or "", at.port or 80)) for _ in range(CONNECTIONS)]
    for each in free:
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    waiting: deque[socket.socket] = deque()
    for body in _read(bodies):
        if free:
            each = free.pop()
        else:
            each = waiting.popleft()
            _answer(each)
        each.sendall(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        waiting.append(each)
    while waiting:
        _answer(waiting.popleft())


def _answer(connection: socket.socket) -> None:
    """Wait for a whole answer. Answers are short: one that comes in pieces is rare, and is put together."""
    found = connection.recv(65536)
    head, ends, body = found.partition(b"\r\n\r\n")
    while not ends or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
        more = connection.recv(65536)
        if not more:
            raise SystemExit("the sink closed the connection")
        found += more
        head, ends, body = found.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 20"):
        raise SystemExit(f"the sink answered {head[:40]!r}")


def _read(bodies: Path) -> Iterator[bytes]:
    with bodies.open("rb") as file:
        while length := file.read(_LENGTH.size):
            yield file.read(_LENGTH.unpack(length)[0])


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    else:
        send_all(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
