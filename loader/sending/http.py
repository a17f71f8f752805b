"""The one door to the network: HTTP.

httpx is the interface. Under it works reqwest (`pyreqwest`), which does its work beside Python, in a fraction of the
time, and keeps to the number of its connections when there are many; httpx's own transport serves where the environment
names a proxy, or says `LOADER_TRANSPORT=httpx`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import zlib
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import httpx
import pyreqwest.exceptions as reqwest
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.http import HeaderMap
from pyreqwest.request import RequestBody, StreamRequest
from pyreqwest.response import ResponseBodyReader

from loader.providers.base import Answer, Request, excerpt
from loader.sending.client import NoAnswer, NothingSent

# Nothing of the request can have been read by the other side.
_NOTHING_SENT = (
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout),
    *(httpx.ProxyError, httpx.UnsupportedProtocol),
)
CONNECT_SECONDS = 10.0
# Of a short timeout.
CONNECT_SHARE = 0.9
# Shorter than the idle time after which servers close connections, so that a request rarely meets a closing one.
IDLE_SECONDS = 4.0
# httpx's own pool looks through all its connections at each step; with more of them it gets slower, not faster.
MOST_WITHOUT_REQWEST = 32
# Far more than any provider says about one chunk; what goes on beyond it is no answer.
MOST_BYTES = 10_000_000
PIECE_BYTES = 1 << 16
# Some providers have a path for each user.
MOST_TARGETS = 64
CLOSE_SECONDS = 0.03
_HEADERS = {"User-Agent": "event-batch-loader", "Accept": "*/*", "Accept-Encoding": "gzip"}


class HttpClient:
    """HTTP with one pool of connections for one destination. Redirects are answers, cookies are nothing."""

    def __init__(self, address: str, connections: int, timeout: float) -> None:
        """`address`: the destination's base URL. `timeout`: seconds for one answer."""
        # A server that drips bytes would go on for ever if only each read were bounded.
        whole = timeout + CONNECT_SECONDS
        self._bound: float | None = None
        waits = httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS), pool=None)
        self._waits = waits.as_dict()
        self._bare: dict[tuple[str, str, tuple[tuple[str, str], ...]], httpx.Request] = {}
        proxy = _proxy(address)
        # Not httpx's own client: that reads what an answer says of cookies and redirects, and fails where it cannot.
        self._transport: httpx.AsyncBaseTransport
        if proxy is not None or os.environ.get("LOADER_TRANSPORT") == "httpx":
            most = min(connections, MOST_WITHOUT_REQWEST)
            limits = httpx.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=IDLE_SECONDS)
            # Making a context for TLS takes longer than ten requests.
            secure = urlsplit(address).scheme == "https"
            self._transport = httpx.AsyncHTTPTransport(verify=secure, limits=limits, proxy=proxy)
            self._bound = whole
        else:
            self._transport = ReqwestTransport(connections, waits, whole)

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
            leaving = self._leaving(request)
        except httpx.InvalidURL as error:
            raise NothingSent(_words(error)) from None
        try:
            if self._bound is None:
                return await self._exchange(leaving)
            leaving.headers = httpx.Headers([*leaving.headers.raw, (b"Content-Length", b"%d" % len(request.body))])
            async with asyncio.timeout(self._bound):
                return await self._exchange(leaving)
        # ValueError: an answer with bytes that are no text where text belongs.
        except (httpx.TransportError, OSError, ValueError) as error:
            raise (NothingSent if isinstance(error, _NOTHING_SENT) else NoAnswer)(_words(error)) from None

    def _leaving(self, request: Request) -> httpx.Request:
        """`request` for the transport. Raises httpx.InvalidURL."""
        # Reading a URL and headers takes longer than sending them, and those of a destination are mostly the same.
        target = request.method, request.url, tuple(request.headers.items())
        bare = self._bare.get(target)
        if bare is None:
            url = httpx.URL(request.url)
            headers = {"Host": url.netloc.decode(), **_HEADERS, **request.headers}
            extensions = {"timeout": self._waits}
            stream = httpx.ByteStream(b"")
            bare = httpx.Request(request.method, url, headers=headers, extensions=extensions, stream=stream)
            if len(self._bare) >= MOST_TARGETS:
                self._bare.clear()
            self._bare[target] = bare
        # Made by httpx, each part would be copied once more.
        leaving = object.__new__(httpx.Request)
        vars(leaving).update(vars(bare), stream=httpx.ByteStream(request.body))
        return leaving

    async def _exchange(self, request: httpx.Request) -> Answer:
        response = await self._transport.handle_async_request(request)
        return Answer(response.status_code, response.headers, await _body(response))


class ReqwestTransport(httpx.AsyncBaseTransport):
    """reqwest as a transport of httpx. It has one of its own, which takes three times as long."""

    def __init__(self, connections: int, waits: httpx.Timeout, whole: float) -> None:
        """`connections`: at most so many. `waits`: for each connection and each read; `whole`: for all of an answer."""
        builder = ClientBuilder().max_connections(connections).pool_max_idle_per_host(connections)
        builder = builder.pool_idle_timeout(timedelta(seconds=IDLE_SECONDS)).follow_redirects(False).no_proxy()
        # What is compressed is unpacked here, within bounds.
        builder = builder.gzip(False).brotli(False).zstd(False).deflate(False)
        if waits.connect is not None and waits.read is not None:
            # The wait for the head of an answer begins before the connection does. Where it ends first, nobody can tell
            # that nothing was sent.
            connect = min(waits.connect, CONNECT_SHARE * waits.read)
            builder = builder.connect_timeout(timedelta(seconds=connect))
            builder = builder.read_timeout(timedelta(seconds=waits.read))
        if not {"SSL_CERT_FILE", "SSL_CERT_DIR"} & set(os.environ):
            # Beside the system's own, for there are systems without any.
            builder = builder.add_root_certificate_pem(Path(certifi.where()).read_bytes())
        self._client: Client | None = None
        self._unusable: httpx.TransportError | None = None
        try:
            self._client = builder.timeout(timedelta(seconds=whole)).build()
        except reqwest.PyreqwestError as error:
            # Such as certificates that SSL_CERT_FILE names and nobody finds.
            self._unusable = httpx.ConnectError(str(_translated(error)))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`."""
        if self._client is None:
            raise self._unusable or httpx.ConnectError("")
        assert isinstance(request.stream, httpx.ByteStream)
        [body] = request.stream
        leaving = StreamRequest.from_request_and_body(self._prepared(request), RequestBody.from_bytes(body))
        try:
            answer = await leaving.__aenter__()
            piece = await answer.body_reader.read(PIECE_BYTES)
        except reqwest.PyreqwestError as error:
            raise _translated(error) from error
        first = b"" if piece is None else bytes(piece)
        # Nearly all answers end here; nothing is left to be read or given back.
        whole = len(first) < PIECE_BYTES
        stream = httpx.ByteStream(first) if whole else _ReqwestBody(leaving, answer.body_reader, first)
        return httpx.Response(answer.status, headers=_answered(answer.headers), stream=stream)

    def _prepared(self, request: httpx.Request) -> StreamRequest:
        """`request` without its body, made once for all with its extensions. Raises httpx.UnsupportedProtocol."""
        assert self._client is not None
        found: StreamRequest | None = request.extensions.get("reqwest")
        if found is None:
            headers = [(name.decode(), value.decode()) for name, value in request.headers.raw]
            try:
                builder = self._client.request(request.method, str(request.url)).headers(headers)
                found = builder.streamed_read_buffer_limit(PIECE_BYTES).build_streamed()
            except (reqwest.PyreqwestError, ValueError):
                # Its words may quote a key.
                raise httpx.UnsupportedProtocol("") from None
            request.extensions["reqwest"] = found
        return found

    async def aclose(self) -> None:
        """See `httpx.AsyncBaseTransport`."""
        if self._client is not None:
            await self._client.close()
            # Its thread lets go of what it holds of Python; a process that ends meanwhile is aborted.
            await asyncio.sleep(CLOSE_SECONDS)


class _ReqwestBody(httpx.AsyncByteStream):
    """The body of a long answer, as it was sent: its first piece, and what follows."""

    def __init__(self, streamed: StreamRequest, body: ResponseBodyReader, first: bytes) -> None:
        self._streamed, self._body, self._first = streamed, body, first

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._first
        try:
            while (piece := await self._body.read(PIECE_BYTES)) is not None:
                yield bytes(piece)
        except reqwest.PyreqwestError as error:
            raise _translated(error) from error

    async def aclose(self) -> None:
        await self._streamed.__aexit__(None, None, None)


def _answered(headers: HeaderMap) -> httpx.Headers:
    """The headers of an answer, but for values that are not ASCII."""
    try:
        return _same(tuple(headers.items()))
    except ValueError:
        found: list[tuple[str, str]] = []
        for name in dict.fromkeys(headers):
            with contextlib.suppress(ValueError):
                found += [(name, value) for value in headers.getall(name)]
        return httpx.Headers(found)


@lru_cache(maxsize=64)
def _same(headers: tuple[tuple[str, str], ...]) -> httpx.Headers:
    """Many answers in a second have the same headers."""
    return httpx.Headers(headers)


# What stands among the causes of an error that came before the connection was made. The kind of the error does not
# tell: reqwest's binding calls each wait for the head of an answer a connection's.
_CONNECTING = "client error (Connect)"


def _translated(error: reqwest.PyreqwestError) -> httpx.TransportError:
    """The error of httpx that says the same."""
    found = error.details["causes"] if isinstance(error, reqwest.DetailedPyreqwestError) else None
    causes = [cause["message"] for cause in found or []]
    # The first one quotes the address, which may hold a key.
    words = causes[-1] if len(causes) > 1 else ""
    too_late = isinstance(error, reqwest.RequestTimeoutError)
    if _CONNECTING in causes:
        return (httpx.ConnectTimeout if too_late else httpx.ConnectError)(words)
    if isinstance(error, reqwest.BuilderError):
        return httpx.UnsupportedProtocol(words)
    return (httpx.ReadTimeout if too_late else httpx.ReadError)(words)


async def _body(response: httpx.Response) -> bytes:
    """The whole body, decompressed. Raises NoAnswer where it is too long or not in the encoding that it claims."""
    stream = response.stream
    if isinstance(stream, httpx.ByteStream):
        [body] = stream
    else:
        assert isinstance(stream, httpx.AsyncByteStream)
        pieces = bytearray()
        try:
            async for piece in stream:
                pieces += piece
                if len(pieces) > MOST_BYTES:
                    raise NoAnswer(f"the answer is longer than {MOST_BYTES:,} bytes")
        finally:
            await stream.aclose()
        body = bytes(pieces)
    # Asking the headers for one would decode all of them.
    encodings = [value.lower() for name, value in response.headers.raw if name.lower() == b"content-encoding"]
    if encodings not in ([b"gzip"], [b"x-gzip"]):
        return body
    # Not left to httpx, which has no bound: a few kilobytes can hold gigabytes.
    gzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = gzip.decompress(body, MOST_BYTES)
    except zlib.error:
        raise NoAnswer("the answer is not in the encoding that it claims") from None
    if not gzip.eof:
        raise NoAnswer(f"the answer is cut short, or longer than {MOST_BYTES:,} bytes")
    return plain


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
    httpx.ConnectError: "no connection",
    httpx.UnsupportedProtocol: "no request can be made of this address and these headers",
    httpx.ReadTimeout: "no answer in time",
    httpx.WriteTimeout: "the request could not be written in time",
    httpx.WriteError: "the connection broke while the request was written",
    httpx.ReadError: "the connection broke while the answer was awaited",
    httpx.RemoteProtocolError: "the connection broke while the answer was awaited",
    TimeoutError: "no complete answer in time",
    ValueError: "the answer cannot be read",
}


def _words(error: BaseException) -> str:
    said = next((words for kind, words in _KNOWN.items() if isinstance(error, kind)), type(error).__name__)
    # It may quote the answer, whatever bytes that has.
    detail = excerpt(str(error).split("://")[0].encode(errors="backslashreplace"))
    return f"{said} ({detail})" if detail else said
