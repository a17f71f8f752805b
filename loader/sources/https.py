"""Files behind https addresses. What may be secret in an address (the query, a password) is never shown."""

from __future__ import annotations

import re
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
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_AGAIN = "run again, or copy the file here first"
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
        """See `remote.Object`. A server may send less than is asked for; what is missing is asked for again."""
        have, tries, size = 0, 0, self.size
        while True:
            try:
                with _answer(self.name, self.address, self._from(have)) as answer:
                    self._check(answer)
                    if have:
                        end, size = self._part(answer, have, size)
                    for block in answer.iter_raw(_BLOCK_BYTES):
                        have, tries = have + len(block), 0
                        yield block
                    if answer.status_code == 200:
                        return
            except httpx.TransportError as error:
                tries += 1
                # A weak tag does not vouch for every byte, so that reading could not go on in the middle.
                if tries == _TRIES or (have and (self.tag or "W/").startswith("W/")):
                    raise _broken(self.name, error) from None
                time.sleep(tries)
                continue
            if have != end:
                raise SourceError(
                    f"{self.name}: the server promised the bytes up to {end} of {size}, and {have} arrived; {_AGAIN}"
                )
            if have == size:
                return

    def _from(self, start: int) -> dict[str, str]:
        return {"Range": f"bytes={start}-", "If-Range": self.tag or ""} if start else {}

    def _check(self, answer: httpx.Response) -> None:
        if answer.headers.get("ETag") != self.tag:
            raise SourceError(
                f"{self.name} changed while it was read; nothing of this read is kept. "
                "Run again when the file is complete."
            )

    def _part(self, answer: httpx.Response, have: int, size: int | None) -> tuple[int, int]:
        """Bytes of the file up to the end of a part that begins after `have`, and of the whole file, as the answer
        promises them (RFC 9110, 14.4). `size`: that of the whole, if it is known. Raises SourceError."""
        said = answer.headers.get("Content-Range", "")
        part = _CONTENT_RANGE.fullmatch(said)
        if answer.status_code != 206 or part is None or int(part[1]) != have:
            raise SourceError(
                f"{self.name}: the connection broke after {have} bytes, and the server does not go on from there; "
                f"{_AGAIN}"
            )
        end, whole = int(part[2]) + 1, size if part[3] == "*" else int(part[3])
        if whole is None or size not in (None, whole) or not have < end <= whole:
            raise SourceError(
                f"{self.name}: {have} of {size or 'unknown'} bytes arrived, and what the server sends next, '{said}', "
                f"leaves open where the file ends; {_AGAIN}"
            )
        return end, whole


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
        if answer.status_code == 206 and "Range" not in headers:
            part = answer.headers.get("Content-Range", "a part that it does not name")
            raise SourceError(f"{name}: the server sends '{part}' where all was asked for; copy the file here first")
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
