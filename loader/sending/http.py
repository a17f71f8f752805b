"""The one door to the network: HTTP.

httpx is the interface. Under it works aiohttp (`httpx_aiohttp`), which takes half the time for a request and keeps to
the number of its connections when there are many; httpx's own transport serves where the environment names a proxy, or
says `LOADER_TRANSPORT=httpx`.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from functools import lru_cache, partial
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from loader.providers.base import Answer, Request, excerpt
from loader.sending.client import NoAnswer, NothingSent

# Nothing of the request can have been read by the other side.
_NOTHING_SENT = (
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout),
    *(httpx.ProxyError, httpx.UnsupportedProtocol),
)
CONNECT_SECONDS = 10.0
# Shorter than the idle time after which servers close connections, so that a request rarely meets a closing one.
IDLE_SECONDS = 4.0
# httpx's own pool looks through all its connections at each step; with more of them it gets slower, not faster.
MOST_WITHOUT_AIOHTTP = 32
# Far more than any provider says about one chunk; what goes on beyond it is no answer.
MOST_BYTES = 10_000_000
_HEADERS = {"User-Agent": "event-batch-loader", "Accept": "*/*", "Accept-Encoding": "gzip"}


class HttpClient:
    """HTTP with one pool of connections for one destination. Redirects are answers, cookies are nothing."""

    def __init__(self, address: str, connections: int, timeout: float) -> None:
        """`address`: the destination's base URL. `timeout`: seconds for one answer."""
        self._timeout = timeout
        waits = httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS), pool=None)
        self._extensions = {"timeout": waits.as_dict()}
        limits = httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=IDLE_SECONDS
        )
        # Making a context for TLS takes longer than ten requests.
        secure = urlsplit(address).scheme == "https"
        proxy = _proxy(address)
        # Not httpx's own client: that reads what an answer says of cookies and redirects, and fails where it cannot.
        self._transport: httpx.AsyncBaseTransport
        if proxy is not None or os.environ.get("LOADER_TRANSPORT") == "httpx":
            limits.max_connections = min(connections, MOST_WITHOUT_AIOHTTP)
            self._transport = httpx.AsyncHTTPTransport(verify=secure, limits=limits, proxy=proxy)
        else:
            self._transport = AiohttpTransport(verify=False, client=partial(_session, limits, secure))

    async def __aenter__(self) -> HttpClient:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def send(self, request: Request) -> Answer:
        """See `Client`."""
        try:
            leaving = httpx.Request(
                request.method,
                _url(request.url),
                headers=_headers(tuple(request.headers.items())),
                content=request.body,
                extensions=self._extensions,
            )
        except httpx.InvalidURL as error:
            raise NothingSent(_words(error)) from None
        try:
            # A server that drips bytes would go on for ever, as only each read is bounded.
            async with asyncio.timeout(self._timeout + CONNECT_SECONDS):
                response = await self._transport.handle_async_request(leaving)
                body = await _body(response)
        # ValueError: an answer with bytes that are no text where text belongs.
        except (httpx.TransportError, aiohttp.ClientError, OSError, ValueError) as error:
            cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
            nothing_sent = _NOTHING_SENT if cause is error else _NOTHING_SENT_BELOW
            raise (NothingSent if isinstance(cause, nothing_sent) else NoAnswer)(_words(cause)) from None
        return Answer(response.status_code, dict(response.headers), body)


# Reading a URL and headers takes as long as sending them, and those of a destination are mostly the same.
@lru_cache(maxsize=64)
def _url(url: str) -> httpx.URL:
    """Raises httpx.InvalidURL."""
    return httpx.URL(url)


@lru_cache(maxsize=64)
def _headers(headers: tuple[tuple[str, str], ...]) -> httpx.Headers:
    return httpx.Headers({**_HEADERS, **dict(headers)})


async def _body(response: httpx.Response) -> bytes:
    """The whole body, decompressed. Raises NoAnswer where it is too long or not in the encoding that it claims."""
    body = bytearray()
    try:
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > MOST_BYTES:
                raise NoAnswer(f"the answer is longer than {MOST_BYTES:,} bytes")
    finally:
        await response.aclose()
    if response.headers.get("content-encoding", "").lower() not in ("gzip", "x-gzip"):
        return bytes(body)
    # Not left to httpx, which has no bound: a few kilobytes can hold gigabytes.
    gzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = gzip.decompress(body, MOST_BYTES)
    except zlib.error:
        raise NoAnswer("the answer is not in the encoding that it claims") from None
    if not gzip.eof:
        raise NoAnswer(f"the answer is cut short, or longer than {MOST_BYTES:,} bytes")
    return plain


class _UnaskedError(aiohttp.ClientConnectionError):
    """A connection holds an answer before anything was asked."""


class _AiohttpRequest(aiohttp.ClientRequest):
    """A request that does not take for its answer what came before it left."""

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        if conn.protocol.should_close:
            conn.close()
            raise _UnaskedError("the connection held an answer to nothing")
        return await super().send(conn)


# As `_NOTHING_SENT`. `httpx_aiohttp` calls any lost connection a ConnectTimeout, even when the request had left.
_NOTHING_SENT_BELOW = (
    *(aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL),
    _UnaskedError,
)


def _session(limits: httpx.Limits, secure: bool) -> aiohttp.ClientSession:
    """Connections, and no memory for cookies: each request says all that is to be said."""
    connector = aiohttp.TCPConnector(
        limit=limits.max_connections or 0,
        keepalive_timeout=limits.keepalive_expiry,
        ssl=httpx.create_ssl_context() if secure else True,
    )
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), request_class=_AiohttpRequest
    )


def _proxy(address: str) -> str | None:
    """The proxy that the environment names for `address`, or None."""
    parts = urlsplit(address)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.hostname or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


_KNOWN: dict[type[BaseException], str] = {
    httpx.ConnectTimeout: "the connection could not be made in time",
    aiohttp.ConnectionTimeoutError: "the connection could not be made in time",
    httpx.ReadTimeout: "no answer in time",
    aiohttp.ServerTimeoutError: "no answer in time",
    httpx.WriteTimeout: "the request could not be written in time",
    httpx.WriteError: "the connection broke while the request was written",
    httpx.ReadError: "the connection broke while the answer was awaited",
    httpx.RemoteProtocolError: "the connection broke while the answer was awaited",
    aiohttp.ClientConnectorError: "no connection",
    _UnaskedError: "nothing was sent",
    aiohttp.ClientConnectionError: "the connection broke while the answer was awaited",
    aiohttp.ClientPayloadError: "the connection broke while the answer was awaited",
    TimeoutError: "no complete answer in time",
    ValueError: "the answer cannot be read",
}


def _words(error: BaseException) -> str:
    said = next((words for kind, words in _KNOWN.items() if isinstance(error, kind)), type(error).__name__)
    # It may quote the answer, whatever bytes that has.
    detail = excerpt(str(error).split("://")[0].encode(errors="backslashreplace"))
    return f"{said} ({detail})" if detail else said
