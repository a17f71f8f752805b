"""Files behind https: a server with TLS that redirects, packs, cuts off and changes its mind."""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from loader import initializing
from loader.errors import SourceError
from loader.sources import Input
from loader.sources.files import find

CONTENT = b"a,b\n" + b"00123,x\n" * 500_000


class Handler(BaseHTTPRequestHandler):
    """What it does is told by the path."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        path = self.path.partition("?")[0]
        getattr(self, f"_{path.strip('/').partition('.')[0]}")()

    def _start(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _whole(self) -> None:
        """A file with a tag, in part where that is asked for."""
        if not self.server.whole:
            self._part()
            return
        content, tag, start = self.server.content, self.server.tag, 0
        asked = self.headers.get("Range")
        if asked is not None and self.headers.get("If-Range") == tag and self.server.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        about = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self._start(206 if start else 200, len(content) - start, ETag=tag, **about)
        if self.server.cuts:
            self.server.cuts -= 1
            self.wfile.write(content[start : start + 1_500_000])
            self.close_connection = True
        else:
            self.wfile.write(content[start:])

    def _dated(self) -> None:
        self._start(200, len(CONTENT), Last_Modified="Fri, 20 Nov 2026 10:00:00 GMT")
        self.wfile.write(CONTENT)

    def _bare(self) -> None:
        self._start(200, len(CONTENT))
        self.wfile.write(CONTENT)

    def _chunked(self) -> None:
        self._start(200, None, Transfer_Encoding="chunked")
        for start in range(0, len(CONTENT), 100_000):
            part = CONTENT[start : start + 100_000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            if self.server.cuts and start > 1_500_000:
                self.server.cuts -= 1
                self.close_connection = True
                return
        self.wfile.write(b"0\r\n\r\n")

    def _parted(self) -> None:
        """A file of unknown size that breaks off, and goes on with what `parts` says: bytes, and Content-Range."""
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if not start:
            self._start(200, None, ETag='"1"', Transfer_Encoding="chunked")
            self.wfile.write(b"%x\r\n%s\r\n" % (1_500_000, CONTENT[:1_500_000]))
            self.close_connection = True
            return
        size, said = self.server.parts(start)
        self._start(206, None, ETag='"1"', Transfer_Encoding="chunked", Content_Range=said)
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (size, CONTENT[start : start + size]))

    def _part(self) -> None:
        self._start(206, 1000, ETag='"1"', Content_Range=f"bytes 0-999/{len(CONTENT)}")
        self.wfile.write(CONTENT[:1000])

    def _endless(self) -> None:
        self._start(200, None, Connection="close")
        self.wfile.write(CONTENT)

    def _packed(self) -> None:
        packed = gzip.compress(CONTENT)
        self._start(200, len(packed), Content_Encoding="gzip", ETag='"p"')
        self.wfile.write(packed)

    def _huge(self) -> None:
        self._start(200, 10**17, ETag='"h"')

    def _moved(self) -> None:
        self._start(302, 0, Location="/whole.csv?signature=hidden")

    def _unsafe(self) -> None:
        self._start(302, 0, Location=f"http://127.0.0.1:{self.server.server_port}/whole.csv")

    def _gone(self) -> None:
        self._start(404, 0)

    def _busy(self) -> None:
        self._start(503, 0)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """`seen`: paths and headers that were asked for. `cuts`: so many answers are cut off. `parts`: see `_parted`."""

    parts: Callable[[int], tuple[int, str]]

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.cuts, self.tag, self.ranges, self.whole, self.content = 0, '"1"', True, True, CONTENT

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with Server(context) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


def found(server: Server, path: str, copies: Path, user: str = "") -> Input:
    [file] = find([f"https://{user}127.0.0.1:{server.server_port}/{path}"], copies)
    return file


def failure(act: Callable[[], object]) -> str:
    with pytest.raises(SourceError) as caught:
        act()
    return str(caught.value).replace("\n", " ")


@pytest.mark.parametrize("path", ["whole.csv", "dated.csv", "bare.csv", "chunked.csv", "moved.csv"])
def test_a_file_is_copied(server: Server, tmp_path: Path, path: str) -> None:
    file = found(server, path, tmp_path)
    assert file.path == f"https://127.0.0.1:{server.server_port}/{path}"
    assert file.size == (-1 if path == "chunked.csv" else len(CONTENT))
    assert file.whole().read_bytes() == CONTENT


def test_what_a_server_packs_is_unpacked_by_its_content(server: Server, tmp_path: Path) -> None:
    assert gzip.decompress(found(server, "packed.csv", tmp_path).whole().read_bytes()) == CONTENT


def test_what_no_server_vouches_for_is_never_known_again(server: Server, tmp_path: Path) -> None:
    for path, known in [("whole.csv", True), ("dated.csv", True), ("bare.csv", False), ("chunked.csv", False)]:
        assert (found(server, path, tmp_path) == found(server, path, tmp_path)) is known, path


def test_secrets_of_an_address_are_sent_and_not_shown(server: Server, tmp_path: Path) -> None:
    file = found(server, "whole.csv?signature=hidden", tmp_path, "user:hidden@")
    file.whole()
    assert "hidden" not in repr(file)
    assert [path for path, _ in server.seen] == ["/whole.csv?signature=hidden"] * 2
    assert {headers["Accept-Encoding"] for _, headers in server.seen} == {"identity"}
    assert {headers["Authorization"] for _, headers in server.seen} == {"Basic dXNlcjpoaWRkZW4="}
    for path in ("gone.csv", "busy.csv", "unsafe.csv", "endless.csv", "huge.csv"):
        words = failure(lambda path=path: found(server, f"{path}?s=hidden", tmp_path, "u:hidden@").whole())  # type: ignore[misc]
        assert "hidden" not in words, path
    both = [f"https://127.0.0.1:{server.server_port}/whole.csv?s=hidden{number}" for number in range(2)]
    words = failure(lambda: find(both, tmp_path))
    assert "two queries" in words
    assert "hidden" not in words


def test_a_mapping_holds_no_secret_of_an_address(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:1000]
    address = f"https://127.0.0.1:{server.server_port}/whole.csv"
    target = initializing.default_output(f"{address}?s=hidden", "batch", None)
    assert str(target) == "whole_to_batch.yaml"
    made = initializing.initialize(f"{address}?s=hidden", "batch", tmp_path / target, lambda _rows, _unread: None)
    assert "hidden" not in made.scaffold.text
    assert ("${SOURCE_URL}" in made.scaffold.text, made.secret) == (True, "SOURCE_URL")
    made = initializing.initialize(address, "batch", tmp_path / target, lambda _rows, _unread: None)
    assert (address in made.scaffold.text, made.secret) == (True, None)


def test_what_is_refused(server: Server, tmp_path: Path) -> None:
    at = f"https://127.0.0.1:{server.server_port}"
    assert failure(lambda: found(server, "gone.csv", tmp_path)) == f"{at}/gone.csv cannot be read: status 404 Not Found"
    assert "status 503" in failure(lambda: found(server, "busy.csv", tmp_path))
    assert "without https" in failure(lambda: found(server, "unsafe.csv", tmp_path))
    assert "does not say where the file ends" in failure(lambda: found(server, "endless.csv", tmp_path))
    words = failure(found(server, "huge.csv", tmp_path).whole)
    assert "MB are free" in words
    assert "--state" in words
    assert failure(lambda: found(server, "*.csv", tmp_path)).startswith(f"{at}/*.csv")


def test_a_certificate_that_nobody_trusts(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "CERTIFICATE_VERIFY_FAILED" in failure(lambda: found(server, "whole.csv", tmp_path))


def test_a_broken_connection_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    file = found(server, "whole.csv", tmp_path)
    server.cuts = 2
    assert file.whole().read_bytes() == CONTENT
    asked = [headers.get("Range") for _, headers in server.seen]
    assert asked == [None, None, "bytes=1048576-", "bytes=2097152-"]


@pytest.mark.parametrize("path", ["whole.csv", "chunked.csv"])
def test_a_broken_connection_that_cannot_go_on(server: Server, tmp_path: Path, path: str) -> None:
    server.ranges = False
    file = found(server, path, tmp_path)
    # More than one: a connection that breaks before the first byte begins anew.
    server.cuts = 5
    words = failure(file.whole)
    assert "run again" in words
    assert "connection broke" in words or "cannot be read to its end" in words


def test_parts_that_end_early_are_followed_by_the_next(server: Server, tmp_path: Path) -> None:
    whole = len(CONTENT)

    def parts(start: int) -> tuple[int, str]:
        size = min(1_200_000, whole - start)
        return size, f"bytes {start}-{start + size - 1}/{whole}"

    server.parts = parts
    assert found(server, "parted.csv", tmp_path).whole().read_bytes() == CONTENT
    asked = [headers.get("Range") for _, headers in server.seen]
    assert asked == [None, None, "bytes=1048576-", "bytes=2248576-", "bytes=3448576-"]


@pytest.mark.parametrize(
    ("size", "said", "words"),
    [
        (1000, "bytes 1048576-4000003/4000004", "promised the bytes up to 4000004 of 4000004, and 1049576 arrived"),
        (1000, "bytes 1048576-1048675/4000004", "promised the bytes up to 1048676 of 4000004, and 1049576 arrived"),
        (1000, "bytes 1048576-1049575/*", "sends next, 'bytes 1048576-1049575/*'"),
        (1000, "bytes 1048576-1049575/1049000", "sends next, 'bytes 1048576-1049575/1049000'"),
        (1000, "bytes 1048576-1048575/4000004", "sends next, 'bytes 1048576-1048575/4000004'"),
        (1000, "bytes 1048577-1049576/4000004", "does not go on from there"),
    ],
)
def test_a_part_that_is_not_as_it_is_said(server: Server, tmp_path: Path, size: int, said: str, words: str) -> None:
    server.parts = lambda _start: (size, said)
    told = failure(found(server, "parted.csv", tmp_path).whole)
    assert words in told
    assert "run again, or copy the file here first" in told


def test_parts_that_disagree_about_the_whole(server: Server, tmp_path: Path) -> None:
    whole = iter([4_000_004, 1_050_576])
    server.parts = lambda start: (1000, f"bytes {start}-{start + 999}/{next(whole)}")
    told = failure(found(server, "parted.csv", tmp_path).whole)
    assert "1049576 of 4000004 bytes arrived" in told


def test_a_part_where_all_was_asked_for(server: Server, tmp_path: Path) -> None:
    told = failure(lambda: found(server, "part.csv", tmp_path))
    assert "sends 'bytes 0-999/4000004' where all was asked for" in told
    # It may begin to do so when the file is found already.
    file = found(server, "whole.csv", tmp_path)
    server.whole = False
    assert "where all was asked for" in failure(file.whole)


def test_a_file_that_changes(server: Server, tmp_path: Path) -> None:
    file = found(server, "whole.csv", tmp_path)
    server.tag = '"2"'
    assert "changed while it was read" in failure(file.whole)
    file = found(server, "whole.csv", tmp_path / "again")
    server.content = CONTENT[:-8]
    assert "arrived" in failure(file.whole)
