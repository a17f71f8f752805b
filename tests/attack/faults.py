"""What a server can do to a request, what that means for the chunk, and why: the table that `test_faults` drives.

verdict     what the loader does
taken       counts the events as sent
not taken   sends the same bytes again, after a pause; exit 5 where it lasts
in doubt    holds the chunk (exit 7); Bloomreach, which removes duplicates, gets the same bytes again
refused     halves the chunk until the bad event stands alone, and rejects that one
stopped     sends nothing more (exit 6), all events pending
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.wire import Act, Exchange, Wire, http, reset

Verdict = Literal["taken", "not taken", "in doubt", "refused", "stopped"]
HTML = b"<html><body><h1>Bad gateway</h1></body></html>"


@dataclass(frozen=True)
class Fault:
    """`verdict`: of all routes but those in `but`. `own`: the act where it differs between routes."""

    name: str
    verdict: Verdict
    why: str
    act: Act | None = None
    own: Mapping[str, Act] = field(default_factory=dict)
    but: Mapping[str, Verdict] = field(default_factory=dict)

    def of(self, route: str) -> Verdict:
        """What it means for a route."""
        return self.but.get(route, self.verdict)


def says(status: int, body: bytes | Any, *headers: str) -> Act:
    """A complete answer."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def act(wire: Wire, exchange: Exchange) -> bool:
        await wire.read(exchange)
        await exchange.write(http(status, raw, *headers))
        return True

    return act


def writes(*pieces: bytes) -> Act:
    """These bytes, then the end of the connection."""

    async def act(wire: Wire, exchange: Exchange) -> bool:
        await wire.read(exchange)
        for piece in pieces:
            await exchange.write(piece)
        return False

    return act


def headed(*lines: bytes) -> Act:
    """Success with these lines in its head."""
    return writes(b"\r\n".join([b"HTTP/1.1 201 OK", *lines, b"", b"{}"]))


async def reset_before(_: Wire, exchange: Exchange) -> bool:
    reset(exchange.writer)
    return False


async def reset_after(wire: Wire, exchange: Exchange) -> bool:
    await wire.read(exchange)
    reset(exchange.writer)
    return False


async def never(wire: Wire, exchange: Exchange) -> bool:
    await wire.read(exchange)
    await exchange.reader.read()
    return False


async def late(wire: Wire, exchange: Exchange) -> bool:
    """Taken, but told only when nobody listens any more."""
    answer = http(*wire.good(await wire.read(exchange)))
    await asyncio.sleep(2.0)
    await exchange.write(answer)
    return True


async def half(wire: Wire, exchange: Exchange) -> bool:
    answer = http(*wire.good(await wire.read(exchange)))
    await exchange.write(answer[:-2])
    return False


async def endless(wire: Wire, exchange: Exchange) -> bool:
    await wire.read(exchange)
    await exchange.write(b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n\r\n")
    while True:
        await exchange.write(b" " * 1_000_000)


async def well_then_closes(wire: Wire, exchange: Exchange) -> bool:
    """As servers do that tire of an idle connection."""
    await wire.answer(exchange)
    return False


def well_after(*before: bytes) -> Act:
    """A good answer behind other bytes."""

    async def act(wire: Wire, exchange: Exchange) -> bool:
        body = await wire.read(exchange)
        await exchange.write(b"".join(before) + http(*wire.good(body)))
        return True

    return act


async def chunked(wire: Wire, exchange: Exchange) -> bool:
    status, body = wire.good(await wire.read(exchange))
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    await exchange.write(b"HTTP/1.1 %d Words\r\nTransfer-Encoding: chunked\r\n\r\n" % status + pieces + b"0\r\n\r\n")
    return True


async def chunked_and_cut(wire: Wire, exchange: Exchange) -> bool:
    status, body = wire.good(await wire.read(exchange))
    head = b"HTTP/1.1 %d Words\r\nTransfer-Encoding: chunked\r\n\r\n" % status
    await exchange.write(head + b"%x\r\n" % len(body) + body + b"\r\n")
    return False


def encoded(encoding: str, *, really: bool) -> Act:
    """A good answer that says in which encoding it is."""

    async def act(wire: Wire, exchange: Exchange) -> bool:
        status, body = wire.good(await wire.read(exchange))
        if really:
            gzip = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
            body = gzip.compress(body) + gzip.flush()
        await exchange.write(http(status, body, f"Content-Encoding: {encoding}"))
        return True

    return act


def success(body: bytes | Any) -> dict[str, Act]:
    """Each route's status of success with this body."""
    return {route: says(201 if route.startswith("batch") else 200, body) for route in ROUTES}


def own(status: int, *headers: str) -> dict[str, Act]:
    """Each route's documented answer with this status."""
    return {
        route: says(status, documented[status], *headers)
        for route in ROUTES
        if status in (documented := DOCUMENTED[route.partition(" ")[0]])
    }


ROUTES = ("batch bulk", "batch single", "appizer batch", "bloomreach batch", "bloomreach single", "pushengage single")


def _batch(code: int, name: str) -> dict[str, Any]:
    return {"code": code, "message": name}


def _bloomreach(errors: str) -> dict[str, Any]:
    return {"success": False, "errors": [errors]}


def _pushengage(code: int) -> dict[str, Any]:
    return {"error": {"message": "Something went wrong", "code": code}}


# Error answers as the providers' pages give them; PushEngage's page has none for 403, 404, 429 and 503.
DOCUMENTED: dict[str, dict[int, Any]] = {
    "batch": {
        400: _batch(31, "MALFORMED_PARAMETER"),
        401: _batch(10, "AUTHENTICATION_INVALID"),
        403: _batch(12, "API_MISUSE"),
        404: _batch(20, "ROUTE_NOT_FOUND"),
        429: _batch(60, "TOO_MANY_REQUESTS"),
        500: _batch(1, "SERVER_ERROR"),
        503: _batch(2, "MAINTENANCE_ERROR"),
    },
    "appizer": {
        status: {"error": "Error", "message": "words", "code": code}
        for status, code in (
            (400, "INVALID_REQUEST"),
            (401, "INVALID_API_KEY"),
            (403, "INSUFFICIENT_PERMISSIONS"),
            (404, "NOT_FOUND"),
            (429, "RATE_LIMIT_EXCEEDED"),
            (500, "INTERNAL_ERROR"),
            (503, "SERVICE_UNAVAILABLE"),
        )
    },
    "bloomreach": {status: _bloomreach(f"words of {status}") for status in (400, 401, 403, 404, 429, 500, 503)},
    "pushengage": {
        400: _pushengage(1003),
        401: _pushengage(401000),
        403: _pushengage(403000),
        404: _pushengage(404000),
        429: _pushengage(429000),
        500: _pushengage(1001),
        503: _pushengage(503000),
    },
}

NOT_STORED = "the provider's own error answer: nothing was stored (TRACK, ERRORS, OVERVIEW; PushEngage: by its shape)"
GATEWAY = "not the provider's answer: something between may have passed the request on"
UNREAD = "the request left, and what came back does not say that it was taken"
LIMIT = "429 is refused at the door, whoever says so: `data of this request is not saved` (OVERVIEW of Bloomreach)"
CONTENT = "the provider refuses the content (TRACK, ERRORS): halved until the event stands alone"
ACCESS = "credentials or route: every further request would get the same answer"
LAST = "only the last answer counts (RFC 9110 15.2)"
ELSEWHERE = "keys are not sent to an address that nobody wrote into the mapping"

WRONG_TYPES = {"token": 5, "success": "true", "results": {}, "processed_count": "2", "error_code": "0"}

FAULTS = (
    Fault("429", "not taken", LIMIT, own=own(429)),
    Fault("429 Retry-After 0", "not taken", LIMIT, own=own(429, "Retry-After: 0")),
    Fault("429 Retry-After soon", "not taken", f"{LIMIT}; nonsense is no hint", own=own(429, "Retry-After: soon")),
    Fault(
        "429 Retry-After overflow", "not taken", f"{LIMIT}; nonsense is no hint",
        own=own(429, "Retry-After: Sat, 21 Nov 99999999999999999999 00:00:00 GMT"),
    ),
    Fault("429 HTML", "not taken", LIMIT, says(429, HTML)),
    Fault("400", "refused", CONTENT, own=own(400)),
    Fault("413 HTML", "refused", "too large for a gateway: halves are smaller", says(413, HTML)),
    Fault("422", "refused", "a 4xx that is neither access nor time", says(422, {"message": "no"})),
    Fault("401", "stopped", ACCESS, own=own(401)),
    Fault("403", "stopped", ACCESS, own=own(403)),
    Fault("403 HTML", "stopped", "a firewall's page; going on would only harden it", says(403, HTML)),
    Fault("404", "stopped", ACCESS, own=own(404)),
    Fault("405", "stopped", ACCESS, says(405, HTML)),
    Fault("407", "stopped", "a proxy wants credentials", says(407, HTML)),
    Fault("408", "in doubt", GATEWAY, says(408, HTML)),
    Fault("425", "in doubt", GATEWAY, says(425, HTML)),
    Fault("499", "in doubt", GATEWAY, says(499, HTML)),
    Fault("500", "not taken", NOT_STORED, own=own(500)),
    Fault("503", "not taken", NOT_STORED, own=own(503)),
    Fault("503 Retry-After 0.1", "not taken", NOT_STORED, own=own(503, "Retry-After: 0.1")),
    Fault("500 HTML", "in doubt", GATEWAY, says(500, HTML)),
    Fault("503 HTML", "in doubt", GATEWAY, says(503, HTML)),
    Fault(
        "500 of a gateway in JSON", "in doubt", GATEWAY, says(500, {"message": "Internal server error"}),
        # Sent again either way: it removes duplicates.
        but={"bloomreach batch": "not taken", "bloomreach single": "not taken"},
    ),
    Fault("502", "in doubt", GATEWAY, says(502, HTML)),
    Fault("502 with the provider's words", "in doubt", GATEWAY, says(502, {"code": 1, "error": {"code": 1001}})),
    Fault("504", "in doubt", GATEWAY, says(504, HTML)),
    Fault("599", "in doubt", UNREAD, says(599, b"")),
    Fault("301", "stopped", ELSEWHERE, says(301, b"", "Location: https://elsewhere.example/?key=k")),
    Fault("302", "stopped", ELSEWHERE, says(302, b"", "Location: /login")),
    Fault("307", "stopped", ELSEWHERE, says(307, b"", "Location: //elsewhere.example/x")),
    Fault("308", "stopped", ELSEWHERE, says(308, b"", "Location: http://[broken")),
    Fault("304", "stopped", ELSEWHERE, writes(b"HTTP/1.1 304 Not Modified\r\n\r\n")),
    Fault("reset before the body", "in doubt", UNREAD, reset_before),
    Fault("reset after the body", "in doubt", UNREAD, reset_after),
    Fault("closed without an answer", "in doubt", UNREAD, writes()),
    Fault("half a head", "in doubt", UNREAD, writes(b"HTTP/1.1 201 Crea")),
    Fault("half a body", "in doubt", UNREAD, half),
    Fault("chunked, without its end", "in doubt", UNREAD, chunked_and_cut),
    Fault("never an answer", "in doubt", UNREAD, never),
    Fault("an answer that comes late", "in doubt", UNREAD, late),
    Fault("an answer without end", "in doubt", UNREAD, endless),
    Fault("no HTTP", "in doubt", UNREAD, writes(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")),
    Fault("HTTP/2", "in doubt", UNREAD, writes(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64")),
    Fault("two lengths", "in doubt", UNREAD, headed(b"Content-Length: 2", b"Content-Length: 9")),
    Fault("a head without end", "in doubt", UNREAD, headed(*[b"X: " + b"y" * 9_000] * 20)),
    Fault("a header that is no text", "in doubt", UNREAD, headed(b"X\x00\xff: \x00", b"Content-Length: 2")),
    Fault("success and HTML", "in doubt", UNREAD, own=success(HTML)),
    Fault("success and nothing", "in doubt", UNREAD, own=success(b"")),
    Fault("success and {}", "in doubt", UNREAD, own=success({})),
    Fault("success and []", "in doubt", UNREAD, own=success([])),
    Fault("success and null", "in doubt", UNREAD, own=success(None)),
    Fault("success and a number", "in doubt", UNREAD, own=success(1)),
    Fault("success and half a JSON", "in doubt", UNREAD, own=success(b'{"success": true, "token": "t')),
    Fault("success and UTF-16", "in doubt", UNREAD, own=success('{"success": true}'.encode("utf-16"))),
    Fault("success and other types", "in doubt", UNREAD, own=success(WRONG_TYPES)),
    Fault("204", "in doubt", UNREAD, writes(b"HTTP/1.1 204 No Content\r\n\r\n")),
    Fault("202", "in doubt", "no page says that 202 means stored", says(202, {"token": "t", "success": True})),
    Fault("206", "in doubt", "a part of an answer is none", says(206, {"token": "t", "error_code": 0})),
    Fault("101", "in doubt", UNREAD, writes(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")),
    Fault("gzip that is none", "in doubt", UNREAD, encoded("gzip", really=False)),
    Fault("gzip under another name", "in doubt", UNREAD, encoded("br", really=True)),
    Fault("gzip", "taken", "an answer like any other", encoded("gzip", really=True)),
    Fault("an encoding that is none", "taken", "an answer like any other", encoded("utf-8", really=False)),
    Fault("100 before the answer", "taken", LAST, well_after(b"HTTP/1.1 100 Continue\r\n\r\n")),
    Fault("103 before the answer", "taken", LAST, well_after(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 3)),
    Fault("chunked", "taken", "an answer like any other", chunked),
    Fault("closed between requests", "taken", "the next request makes a connection of its own", well_then_closes),
)  # fmt: skip
