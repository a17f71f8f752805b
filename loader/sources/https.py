"""Files behind https addresses. What may be secret in an address (the query, a password) is never shown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from loader.errors import SourceError

_BLOCK_BYTES = 1 << 20
_TRIES = 5
_TIMEOUT = httpx.Timeout(60, connect=10)
# A file is wanted as it lies there: packed content is told by its bytes.
_HEADERS = {"User-Agent": "event-batch-loader", "Accept": "*/*", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class _File:
    """See `remote.Object`. `address`: with all that is secret."""

    name: str
    size: int | None
    modified: datetime | None
    tag: str | None
    address: str

    def blocks(self) -> Iterator[bytes]:
        have, tries = 0, 0
        while True:
            try:
                with _answer(self.name, self.address, self._from(have)) as answer:
                    self._check(answer, have)
                    for block in answer.iter_raw(_BLOCK_BYTES):
                        have, tries = have + len(block), 0
                        yield block
                    return
            except httpx.TransportError as error:
                tries += 1
                # A weak tag does not vouch for every byte, so that reading could not go on in the middle.
                if tries == _TRIES or (have and (self.tag or "W/").startswith("W/")):
                    raise _broken(self.name, error) from None
                time.sleep(tries)

    def _from(self, start: int) -> dict[str, str]:
        return {"Range": f"bytes={start}-", "If-Range": self.tag or ""} if start else {}

    def _check(self, answer: httpx.Response, have: int) -> None:
        if answer.headers.get("ETag") != self.tag:
            raise SourceError(
                f"{self.name} changed while it was read; nothing of this read is kept. "
                "Run again when the file is complete."
            )
        if have and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise SourceError(
                f"{self.name}: the connection broke after {have} bytes, and the server does not go on from there; "
                "run again, or copy the file here first"
            )


def find(address: str) -> _File:
    """The file at `address`, as it is now. Raises SourceError."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        raise SourceError("an address that begins with https:// is not valid") from None
    name = f"https://{url.netloc.decode('ascii')}{urlsplit(str(url)).path}"
    try:
        # Not HEAD: a signed address is for one method only.
        with _answer(name, address, {}) as answer:
            size = answer.headers.get("Content-Length")
            return _File(
                name, None if size is None else int(size), _modified(answer), answer.headers.get("ETag"), address
            )
    except httpx.TransportError as error:
        raise _broken(name, error) from None


@contextmanager
def _answer(name: str, address: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
    """The answer with the content. Raises SourceError where it is refused, httpx.TransportError where none is read."""
    with (
        httpx.Client(
            timeout=_TIMEOUT, headers=_HEADERS, follow_redirects=True, event_hooks={"request": [_only_https]}
        ) as client,
        client.stream("GET", address, headers=headers) as answer,
    ):
        if answer.status_code == 429 or answer.status_code >= 500:
            raise _BusyError(f"status {answer.status_code}")
        if answer.status_code not in (200, 206):
            raise SourceError(f"{name} cannot be read: status {answer.status_code} {answer.reason_phrase}".rstrip())
        if "Content-Length" not in answer.headers and "chunked" not in answer.headers.get("Transfer-Encoding", ""):
            # A broken connection would look like the end.
            raise SourceError(f"{name}: the server does not say where the file ends; copy it here first")
        yield answer


class _BusyError(httpx.TransportError):
    """The server cannot answer now."""


def _only_https(request: httpx.Request) -> None:
    if request.url.scheme != "https":
        raise SourceError(f"https://{request.url.host}: an address without https is redirected to; it is not followed")


def _modified(answer: httpx.Response) -> datetime | None:
    try:
        return parsedate_to_datetime(answer.headers["Last-Modified"])
    except (KeyError, ValueError):
        return None


def _broken(name: str, error: httpx.TransportError) -> SourceError:
    words = str(error).partition("://")[0] or type(error).__name__
    return SourceError(f"{name} cannot be read to its end: {words}; nothing of this read is kept, run again later")
