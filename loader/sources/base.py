"""What a source gives to the pipeline: files with a fingerprint, frames of rows, and what became of the others."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import IO, Protocol

import polars as pl

from loader import rejection
from loader.errors import SourceError
from loader.settings import CursorValue

# Rows of a frame, about. Nothing that comes out of a source may depend on it.
FRAME_ROWS = 20_000

# Bytes that were no text, as Python escapes them (halves of characters).
HALVES = re.compile("[\ud800-\udfff]")

# Names that polars takes for patterns of names.
_PATTERN = re.compile(r"\*|\^.*\$", re.DOTALL)

RECORDS: dict[str, pl.DataType] = {"row": pl.UInt64(), "record": pl.String()}


@dataclass(frozen=True)
class Input:
    """One file of a source as it was found: `size` in bytes, `mtime_ns` in nanoseconds since 1970, `inode`.

    `remote` has others: `size` is -1 where nobody says, `inode` is made of what the server calls this content.
    """

    path: str
    size: int
    mtime_ns: int
    inode: int

    @property
    def remote(self) -> bool:
        """Whether the content lies on another machine."""
        return False

    @classmethod
    def of(cls, path: str) -> Input:
        """The file at `path` as it is now. Raises OSError."""
        stat = Path(path).stat()
        return cls(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)

    def open(self) -> IO[bytes]:
        """The content as it lies there. Raises OSError."""
        return Path(self.path).open("rb")

    def whole(self) -> Path:
        """Where all of the content lies on this machine. Raises SourceError where it cannot be brought here."""
        return Path(self.path)

    def keep(self, at: Path) -> None:
        """Give the content a second name, which keeps it at hand. Raises OSError."""
        # Of the file itself, not of a symbolic link to it, which may soon lead to another one.
        os.link(os.path.realpath(self.path), at)

    def digest(self) -> str:
        """SHA-256 (hex) of the content as it lies on disk, computed once. Raises SourceError where it changed."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        try:
            with Path(self.path).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise unreadable(self.path, error) from None
        self.check()
        return digest

    def check(self) -> None:
        """Raise SourceError where the file is no longer the one that was found."""
        try:
            now = Input.of(self.path)
        except OSError:
            now = None
        if now != self:
            raise SourceError(
                f"{self.path} changed while it was read; nothing of this read is kept. "
                "Run again when the file is complete."
            )


@dataclass(frozen=True)
class Frame:
    """Consecutive rows of a source.

    `rows`: column `rejection.ROW` (UInt64; from 1 over good, rejected and filtered rows, on over all files), then the
    source's columns in source order. `rejected`: `rejection.SCHEMA`, the rows of this frame that could not be read.
    `records`: `RECORDS`, the JSON text of each rejected row as far as it was read, or the raw line.
    `filtered`: rows that are not above the cursor. `input`: the file, None for SQL.
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame
    records: pl.DataFrame
    filtered: int
    input: Input | None


class Source(Protocol):
    """Where rows come from."""

    @property
    def columns(self) -> dict[str, pl.DataType]:
        """Names and types of the columns of `Frame.rows` (without the row number), known before rows are read."""

    @property
    def inputs(self) -> list[Input]:
        """The files, in the order in which they are read; empty for SQL."""

    @property
    def cursor(self) -> CursorValue | None:
        """When `frames` is exhausted: the highest value of the cursor's column, never below the one given."""

    def frames(self, inputs: Sequence[Input] | None = None) -> Generator[Frame, None, None]:
        """All rows, or those of `inputs`. Raises SourceError; what was yielded before then must not be kept."""

    def close(self) -> None:
        """Let go of connections; `frames` does it itself when it ends."""


def begun(frames: Generator[Frame, None, None]) -> Generator[Frame, None, None] | None:
    """`frames` without those that are empty at their beginning; None where no row is in any."""
    for first in frames:
        if len(first.rows) or len(first.rejected) or first.filtered:
            return _from(first, frames)
    return None


def _from(first: Frame, frames: Generator[Frame, None, None]) -> Generator[Frame, None, None]:
    with closing(frames):
        yield first
        yield from frames


def unreadable(path: str, error: OSError) -> SourceError:
    """The error of a file that the system does not let us read."""
    return SourceError(f"{path} cannot be read: {error.strerror or error}")


def nearest(name: str, names: Iterable[str]) -> str:
    """What to add to a message about an unknown `name`: the nearest of `names`, or all of them."""
    known = list(names)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    return f"it has: {shown}"


def check_names(names: Sequence[str], where: str, way_out: str) -> None:
    """Raise SourceError where two columns share a name, or one has a name that no column can have here."""
    places: dict[str, int] = {}
    for index, name in enumerate(names):
        first = places.setdefault(name, index)
        if first != index:
            raise SourceError(
                f"{where} has two columns named '{name}' (columns {first + 1} and {index + 1}); {way_out}"
            )
        if not name:
            raise SourceError(f"{where} has a column without a name (column {index + 1}); {way_out}")
        if _PATTERN.fullmatch(name):
            raise SourceError(f"{where} has a column named '{name}', which stands for other columns here; {way_out}")
    if rejection.ROW in names:
        raise SourceError(f"{where} has a column named '{rejection.ROW}', which numbers the rows here; {way_out}")


def numbered(rows: pl.DataFrame, numbers: pl.Series | None, first: int) -> pl.DataFrame:
    """`rows` with the column `rejection.ROW` in front: `numbers`, or from `first` on."""
    if numbers is None:
        numbers = pl.int_range(first, first + rows.height, dtype=pl.UInt64, eager=True)
    return pl.DataFrame([numbers.alias(rejection.ROW), *rows.get_columns()])


def sizes(height: int) -> Iterator[tuple[int, int]]:
    """Offset and length of the frames that `height` rows are cut into, as even as can be."""
    count = max(1, -(-height // FRAME_ROWS))
    for part in range(count):
        start, end = height * part // count, height * (part + 1) // count
        yield start, end - start


class Rejects:
    """Collects rejected rows one by one, for the paths where a row is a Python object anyway."""

    def __init__(self) -> None:
        self._rejected: list[tuple[int, str, str | None, str | None, str]] = []
        self._records: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._rejected)

    def add(
        self, row: int, reason: str, message: str, record: str, *, field: str | None = None, value: str | None = None
    ) -> None:
        """Reject `row` (a number); see `rejection.SCHEMA` and `RECORDS` for the rest."""
        cut = None if value is None else printable(value[: rejection.MAX_VALUE])
        self._rejected.append((row, reason, field, cut, message))
        self._records.append((row, printable(record)))

    def frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """`rejected` and `records` of a `Frame`."""
        return (
            pl.DataFrame(self._rejected, schema=rejection.SCHEMA, orient="row"),
            pl.DataFrame(self._records, schema=RECORDS, orient="row"),
        )


def printable(text: str) -> str:
    """`text` with bytes that were no text written out, such as \\udce9; no UTF-8 can hold them."""
    return HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def jsonish(row: object) -> str:
    """JSON text of a rejected row; what JSON does not know becomes text."""
    text = json.dumps(row, ensure_ascii=False, default=str)
    return HALVES.sub(lambda half: f"\\\\u{ord(half[0]):04x}", text)


@cache
def no_records() -> pl.DataFrame:
    """`RECORDS` of no rows."""
    return pl.DataFrame(schema=RECORDS)


def record_texts(rows: pl.DataFrame) -> pl.DataFrame:
    """`RECORDS` of `rows` (with `rejection.ROW`): few, so that they may become Python objects."""
    texts = [jsonish(row) for row in rows.drop(rejection.ROW).iter_rows(named=True)]
    return pl.DataFrame([rows[rejection.ROW].alias("row"), pl.Series("record", texts, pl.String)])
