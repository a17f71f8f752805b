"""The one door to the network. An error tells whether the request can have reached the provider."""

from __future__ import annotations

import asyncio
from types import TracebackType

import httpx

from loader.providers.base import Answer, Request

# Nothing of the request can have been read by the other side.
_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
CONNECT_SECONDS = 10.0
# Shorter than the idle time after which servers close connections, so that a request rarely meets a closing one.
IDLE_SECONDS = 4.0


class NothingSent(Exception):
    """The request did not leave: no connection, no name, no TLS."""


class NoAnswer(Exception):
    """The request left, wholly or partly, and no complete answer came back."""


class Client:
    """HTTP with one pool of connections for one destination. Redirects are answers, not followed."""

    def __init__(self, connections: int, timeout: float) -> None:
        self._timeout = timeout
        self._client = httpx.AsyncClient(
            limits=httpx.Limits(
                max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=IDLE_SECONDS
            ),
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS), pool=None),
            follow_redirects=False,
            headers={"User-Agent": "event-batch-loader"},
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def send(self, request: Request) -> Answer:
        """The complete answer to `request`. Raises NothingSent or NoAnswer, with words that hold no URL."""
        try:
            # httpx bounds each read; a server that drips bytes would go on for ever.
            async with asyncio.timeout(self._timeout + CONNECT_SECONDS):
                response = await self._client.request(
                    request.method, request.url, headers=dict(request.headers), content=request.body
                )
        except _NOTHING_SENT as error:
            raise NothingSent(_words(error)) from None
        except (httpx.TransportError, httpx.DecodingError, TimeoutError) as error:
            raise NoAnswer(_words(error)) from None
        return Answer(response.status_code, dict(response.headers), response.content)


def _words(error: Exception) -> str:
    known = {
        httpx.ConnectTimeout: "the connection could not be made in time",
        httpx.ReadTimeout: "no answer in time",
        httpx.WriteTimeout: "the request could not be written in time",
        httpx.ReadError: "the connection broke while the answer was awaited",
        httpx.WriteError: "the connection broke while the request was written",
        TimeoutError: "no complete answer in time",
    }
    said = known.get(type(error), type(error).__name__)
    detail = str(error).split("://")[0] if "://" in str(error) else str(error)
    return f"{said} ({detail})" if detail else said
