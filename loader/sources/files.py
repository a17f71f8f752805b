"""What the sources that are files share: finding them, reading them as blocks of plain bytes, and their errors."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from loader.errors import NoFileMatches, SourceError
from loader.sources.base import Input, unreadable
from loader.sources.remote import Remote, is_remote

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Bytes that are read and parsed at a time. Nothing that comes out of a source may depend on it.
BLOCK_BYTES = 4 << 20
# No row is as long as this; what is, is a file with the wrong quotes or line ends, and must not fill the memory.
MAX_RECORD_BYTES = 16 << 20

BOM = b"\xef\xbb\xbf"

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError)
# How files begin that are no text, and what to do about them.
_FOREIGN = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save it as CSV",
    b"PAR1": "a Parquet file; write `type: parquet`",
    b"BZh": "compressed with bzip2; unpack it, or compress it as .gz or .zst",
    b"\xfd7zXZ": "compressed with xz; unpack it, or compress it as .gz or .zst",
    b"SQLite format 3": "a SQLite database; write `type: sql` with a `url` and a `query`",
}


def find(paths: Sequence[str], copies: Path) -> list[Input]:
    """The files that `paths` (paths and globs) name: in the order of the list, a glob's in the order of their names.

    `copies`: the folder for what is read of remote files. A file that is named twice is taken once. Raises SourceError
    where a path names no file, NoFileMatches where a glob does.
    """
    found: dict[object, Input] = {}
    unmatched = []
    remote = Remote(copies)
    for path in paths:
        try:
            if is_remote(path):
                found |= {item.path: item for item in remote.find(path) if item.path not in found}
            else:
                for match in _matches(path):
                    found.setdefault(match.resolve(), _input(str(match)))
        except NoFileMatches as error:
            unmatched.append(str(error))
    if unmatched:
        raise NoFileMatches("; ".join(unmatched), list(found.values()))
    return list(found.values())


def _matches(path: str) -> list[Path]:
    literal = Path(path)
    try:
        if literal.exists():
            return [literal]
    except OSError as error:
        raise unreadable(path, error) from None
    if not any(character in path for character in "*?["):
        raise SourceError(f"{path}: there is no such file")
    matches = [match for match in _glob(literal) if not match.is_dir()]
    if not matches:
        raise NoFileMatches(f"{path}: no file matches")
    return matches


def _glob(pattern: Path) -> list[Path]:
    parts = pattern.parts
    fixed = next(i for i, part in enumerate(parts) if any(character in part for character in "*?["))
    return sorted(Path(*parts[:fixed]).glob(str(Path(*parts[fixed:]))))


def _input(path: str) -> Input:
    file = Path(path)
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise SourceError(f"{shown}: the name is not UTF-8; rename the file") from None
    if file.is_dir():
        raise SourceError(f"{path} is a directory; name the files in it, such as {path.rstrip('/')}/*.csv")
    try:
        if not file.is_file():
            raise SourceError(f"{path} is not a regular file; save what it gives to a file first")
        with file.open("rb"):
            return Input.of(path)
    except OSError as error:
        raise unreadable(path, error) from None


@contextmanager
def opened(file: Input) -> Iterator[IO[bytes]]:
    """The content of `file`, unpacked. Checks before and after that it is the file that was found."""
    file.check()
    if file.size == 0:
        raise SourceError(f"{file.path} is empty (0 bytes)")
    try:
        with file.open() as raw, _unpacked(raw) as content:
            yield content
    except _DAMAGED as error:
        raise SourceError(f"{file.path} is damaged, it cannot be unpacked: {error}") from None
    except OSError as error:
        raise unreadable(file.path, error) from None
    file.check()


def _unpacked(raw: IO[bytes]) -> IO[bytes]:
    # The content decides, not the name: downloads lose and gain endings.
    head = raw.read(4)
    raw.seek(0)
    if head.startswith(_GZIP):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if head.startswith(_ZSTD):
        return cast("IO[bytes]", zstd.ZstdFile(raw))
    return raw


def check_text(path: str, head: bytes, *, encoding: str | None) -> None:
    """Raise SourceError where a file that begins with `head` is no text, or text of another encoding.

    `encoding`: the one that the source was given, None where it cannot be chosen.
    """
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise SourceError(f"{path} is {what}")
    wide = (encoding or "").lower().replace("_", "-").startswith(("utf-16", "utf-32"))
    # Text of a western language has a zero in every second byte of UTF-16, and text of one byte a letter has none.
    if not wide and (head.startswith((b"\xff\xfe", b"\xfe\xff")) or head[:1000].count(0) * 3 > len(head[:1000])):
        name = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-16-be" if head[0] == 0 else "utf-16-le"
        way_out = "save it as UTF-8" if encoding is None else f"write `encoding: {name}`"
        raise SourceError(f"{path} looks like UTF-16; {way_out}")


class Text:
    """The content of a text file from behind its byte order mark; `read` as of a file."""

    def __init__(self, file: Input, content: IO[bytes], encoding: str | None) -> None:
        head = content.read(4096)
        check_text(file.path, head, encoding=encoding)
        self._head = head.removeprefix(BOM)
        self._content = content

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        part, self._head = self._head[:size], self._head[size:]
        return part or self._content.read(size)


def line_blocks(file: Input) -> Iterator[tuple[bytes, int]]:
    """The lines of `file` in blocks of whole lines, each with the number of its first line; without the BOM."""
    with opened(file) as raw:
        content = Text(file, raw, None)
        rest = b""
        line = 1
        while more := content.read(BLOCK_BYTES):
            cut = more.rfind(b"\n") + 1
            if not cut:
                rest += more
                if len(rest) > MAX_RECORD_BYTES:
                    raise SourceError(f"{file.path}, line {line}: the line is longer than {MAX_RECORD_BYTES >> 20} MB")
                continue
            block = rest + more[:cut]
            rest = more[cut:]
            yield block, line
            line += block.count(b"\n")
        if rest:
            yield rest, line
