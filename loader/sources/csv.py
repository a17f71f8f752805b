"""CSV files: all cells are text unless `types:` says otherwise, so that `00123` stays `00123`.

A file is read in blocks. Polars parses the blocks that are proven to be well formed; the others are read record by
record, so that a bad record is rejected alone, with its number and its line. Both ways give the same rows.

An empty cell is null. Blanks around a column's name are dropped; a column without a name is called `column_N` after
its position.
"""

from __future__ import annotations

import codecs
import difflib
import encodings.aliases
import re
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import polars as pl

from loader.errors import SourceError
from loader.rejection import ROW
from loader.settings import CsvSettings, CursorValue
from loader.sources import files
from loader.sources.base import HALVES, Frame, Input, Rejects, check_names, jsonish, numbered, sizes
from loader.sources.csv_text import Grammar, Record, Unfinished
from loader.sources.cursor import Watch
from loader.sources.typed import Finish, decimal_scale, dtype_of, wanted_types

_SWAP = bytes.maketrans(b"\r\n", b"\n\r")


@dataclass(frozen=True)
class _Block:
    """Rows (with `ROW`) and bad records of one block of a file."""

    rows: pl.DataFrame
    rejects: Rejects | None


class CsvSource:
    """A `Source` of CSV files; see `open_source`."""

    def __init__(
        self,
        settings: CsvSettings,
        inputs: Sequence[Input],
        *,
        timezone: str | None,
        cursor: CursorValue | None,
        used: Collection[str] | None,
    ) -> None:
        self._settings = settings
        self._encoding, self._forgiving = _encoding(settings.encoding)
        quote = settings.quote or None
        if settings.separator in "\r\n" or settings.separator == quote:
            raise SourceError("`separator` must be neither a line end nor the quote")
        if quote in ("\r", "\n"):
            raise SourceError("`quote` must not be a line end")
        self._grammar = Grammar(settings.separator, quote)
        self.inputs = list(inputs)
        first = self.inputs[0]
        self._names = self._header(first)
        for other in self.inputs[1:]:
            _same_columns(first, self._names, other, self._header(other))
        needed = None if used is None else {*used, *([settings.cursor.column] if settings.cursor else [])}
        types = wanted_types(settings.types, self._names, needed, first.path)
        scales = self._scales([name for name, kind in types.items() if kind == "decimal"])
        self.columns: dict[str, pl.DataType] = {name: pl.String() for name in self._names}
        self.columns |= {name: dtype_of(kind, scales.get(name, 0)) for name, kind in types.items()}
        self._watch = (
            None if settings.cursor is None else Watch(settings.cursor, self.columns, cursor, timezone, filters=True)
        )
        self._finish = Finish(self.columns, types, timezone, self._watch)

    @property
    def cursor(self) -> CursorValue | None:
        """The highest value seen of the cursor's column."""
        return None if self._watch is None else self._watch.highest

    def close(self) -> None:
        """Nothing is held open."""

    def frames(self, inputs: Sequence[Input] | None = None) -> Generator[Frame, None, None]:
        """See `Source`."""
        row = 1
        for file in self.inputs if inputs is None else inputs:
            for block in self._blocks(file, row):
                count = block.rows.height + (len(block.rejects) if block.rejects else 0)
                row += count
                if block.rejects is None:
                    for offset, length in sizes(count):
                        yield self._finish.frame(block.rows.slice(offset, length), None, None, file)
                    continue
                rejected, records = block.rejects.frames()
                for offset, length in sizes(count):
                    first = row - count + offset
                    good = block.rows.filter(pl.col(ROW).is_between(first, first + length - 1))
                    bad = pl.col("row").is_between(first, first + length - 1)
                    yield self._finish.frame(good, rejected.filter(bad), records.filter(bad), file)

    def _scales(self, names: list[str]) -> dict[str, int]:
        """The scale that each decimal column needs over all files, so that it is the same in each frame."""
        scales = dict.fromkeys(names, 0)
        for file in self.inputs if names else []:
            for block in self._blocks(file, 1):
                for name in names:
                    scales[name] = max(scales[name], decimal_scale(block.rows[name]))
        return scales

    def _header(self, file: Input) -> list[str]:
        with files.opened(file) as content:
            chunks = _Chunks(file, content, self._encoding, self._forgiving, 1 << 16)
            return self._names_of(file, chunks)

    def _names_of(self, file: Input, chunks: _Chunks) -> list[str]:
        """The columns of `file`; takes the header from `chunks`, if there is one."""
        given = self._settings.columns
        where = f"the header of {file.path}"
        if not self._settings.has_header:
            chunks.fill()
            names = list(given or [])
            where = "`columns`"
        else:
            cells = self._first_record(file, chunks)
            names = [cell.strip() or f"column_{i}" for i, cell in enumerate(cells, 1)]
            if given is not None:
                if len(given) != len(names):
                    raise SourceError(f"`columns` names {len(given)} columns, but {where} has {len(names)}")
                names, where = list(given), "`columns`"
            elif any(HALVES.search(name) for name in names):
                raise SourceError(
                    f"{where} is not {self._settings.encoding}; {_other_encoding(self._settings.encoding)}"
                )
        check_names(names, where, "give each its own name with `columns`")
        return names

    def _first_record(self, file: Input, chunks: _Chunks) -> list[str]:
        while True:
            chunks.fill()
            if not chunks.buffer.strip() and chunks.final:
                raise SourceError(f"{file.path} is empty; not even a header is in it")
            for record in self._grammar.records(_text(chunks.buffer), chunks.final):
                if isinstance(record, Unfinished):
                    _check_size(file, chunks, record)
                    break
                if record.misquoted:
                    raise SourceError(f"{file.path}, line {chunks.line + record.line}: {_MISQUOTED}")
                if record.raw.strip(" "):
                    chunks.take(len(_text(chunks.buffer)[: record.end].encode("utf-8", "surrogateescape")))
                    return record.cells

    def _blocks(self, file: Input, row: int) -> Iterator[_Block]:
        """The rows of `file`, numbered from `row` on, as text in the order of `self._names`."""
        with files.opened(file) as content:
            chunks = _Chunks(file, content, self._encoding, self._forgiving, files.BLOCK_BYTES)
            names = self._names_of(file, chunks)
            while not chunks.done:
                cut = len(chunks.buffer) if chunks.final else self._grammar.cut(chunks.buffer)
                found = self._grammar.fast(chunks.buffer[:cut], len(names)) if cut else None
                if found is not None:
                    rows, lines = found
                    doubled = self._grammar.quote is not None and self._grammar.quote.encode() * 2 in chunks.buffer
                    rows = self._cells(rows, names, chunks.swapped, empty=doubled)
                    block = _Block(numbered(rows, None, row), None)
                    chunks.take(cut, lines)
                else:
                    block = self._slowly(file, chunks, names, row)
                if block.rows.height or block.rejects:
                    yield block
                row += block.rows.height + (len(block.rejects) if block.rejects else 0)
                chunks.fill()

    def _slowly(self, file: Input, chunks: _Chunks, names: list[str], row: int) -> _Block:
        """The complete records of what is read, one by one."""
        text = _text(chunks.buffer)
        sound = HALVES.search(text) is None
        good: list[list[str]] = []
        numbers: list[int] = []
        rejects = Rejects()
        end = 0
        for record in self._grammar.records(text, chunks.final):
            if isinstance(record, Unfinished):
                if not end:
                    _check_size(file, chunks, record)
                break
            end = record.end
            if len(names) > 1 and len(record.cells) == 1 and not record.raw.strip(" "):
                continue
            if len(record.cells) == len(names) and not record.misquoted and (sound or not HALVES.search(record.raw)):
                good.append(record.cells)
                numbers.append(row)
            else:
                self._reject(rejects, row, record, chunks, names)
            row += 1
        columns = list(zip(*good, strict=True)) or [()] * len(names)
        rows = pl.DataFrame([pl.Series(str(i), cells, pl.String) for i, cells in enumerate(columns)])
        rows = self._cells(rows, names, chunks.swapped, empty=True)
        chunks.take(min(len(chunks.buffer), len(text[:end].encode("utf-8", "surrogateescape"))))
        return _Block(numbered(rows, pl.Series(numbers, dtype=pl.UInt64), row), rejects if len(rejects) else None)

    def _reject(self, rejects: Rejects, row: int, record: Record, chunks: _Chunks, names: list[str]) -> None:
        line = f"line {chunks.line + record.line}: "
        cells = record.cells
        if record.misquoted:
            rejects.add(row, "bad_quotes", line + _MISQUOTED, record.raw, value=record.raw)
            return
        found: dict[str, object] = dict(zip(names, cells, strict=False))
        if len(cells) > len(names):
            found["_extra"] = cells[len(names) :]
        text = jsonish(found)
        if len(cells) != len(names):
            message = f"{line}{len(cells)} cell{'s' * (len(cells) != 1)}, {len(names)} expected"
            if self._grammar.quote is not None and self._grammar.quote in record.raw:
                message += f"; {_NO_QUOTES}"
            rejects.add(row, "ragged_row", message, text)
            return
        column, cell = next((name, cell) for name, cell in zip(names, cells, strict=True) if HALVES.search(cell))
        message = (
            f"{line}column '{column}' is not {self._settings.encoding}; {_other_encoding(self._settings.encoding)}"
        )
        rejects.add(row, "bad_encoding", message, text, field=column, value=cell)

    def _cells(self, rows: pl.DataFrame, names: list[str], swapped: bool, *, empty: bool) -> pl.DataFrame:
        """`rows` under their names in the order of the first file, with null for what stands for it."""
        rows = rows.rename(dict(zip(rows.columns, names, strict=True)))
        if names != self._names:
            rows = rows.select(self._names)
        if swapped:
            rows = rows.with_columns(pl.all().str.replace_many(["\r", "\n"], ["\n", "\r"]))
        if empty:
            some = rows.select((pl.all().str.len_bytes() == 0).any()).row(0, named=True)
            cells = pl.col([name for name, found in some.items() if found])
            rows = rows.with_columns(pl.when(cells.str.len_bytes() > 0).then(cells))
        if self._settings.null_values:
            rows = rows.with_columns(pl.when(~pl.all().is_in(self._settings.null_values)).then(pl.all()))
        return rows


_NO_QUOTES = 'if quotes are ordinary characters in this file, write `quote: ""`'
_MISQUOTED = f"text stands after the closing quote of a cell; {_NO_QUOTES}"


class _Chunks:
    """The content of a file as UTF-8, a block at a time; `buffer` is what was read and not yet taken.

    `line`: the number of the buffer's first line. `final`: all is read. `swapped`: lines end with carriage returns;
    line feeds and carriage returns have changed places. Bytes that do not fit the encoding make the UTF-8 invalid.
    """

    def __init__(self, file: Input, content: IO[bytes], encoding: str, forgiving: bool, size: int) -> None:
        self.buffer = b""
        self.line = 1
        self.final = False
        self.swapped = False
        self._file = file
        self._content = files.Text(file, content, encoding)
        self._size = size
        self._start = True
        self._encoding = encoding
        self._decoder = None
        if encoding not in ("utf-8", "utf-8-sig"):
            self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape" if forgiving else "strict")

    @property
    def done(self) -> bool:
        """Whether all is read and taken."""
        return self.final and not self.buffer

    def fill(self) -> None:
        """Read on: one block more in the buffer, or the end of the file."""
        if self.final:
            return
        more = self._read()
        if self._start:
            more = more.removeprefix(files.BOM)
            # The first line's end tells what ends the others; a carriage return may have a line feed behind it.
            while (
                not self.final and b"\n" not in more and b"\r" not in more[:-1] and len(more) <= files.MAX_RECORD_BYTES
            ):
                more += self._read()
            first = re.search(rb"\r\n?|\n", more)
            self.swapped = first is not None and first[0] == b"\r"
            self._start = False
        self.buffer += more.translate(_SWAP) if self.swapped else more

    def _read(self) -> bytes:
        more = self._content.read(self._size)
        self.final = not more
        if self._decoder is None:
            return more
        try:
            text = self._decoder.decode(more, self.final)
        except UnicodeError as error:
            line = self.line + self.buffer.count(b"\n")
            raise SourceError(
                f"{self._file.path}, after line {line}: the bytes are not {self._encoding} ({error}); "
                f"{_other_encoding(self._encoding)}"
            ) from None
        return text.encode("utf-8", "surrogatepass")

    def take(self, size: int, lines: int | None = None) -> None:
        """Drop `size` bytes from the front of the buffer; they hold so many `lines`, where that is known."""
        self.line += self.buffer.count(b"\n", 0, size) if lines is None else lines
        self.buffer = self.buffer[size:]


def _text(buffer: bytes) -> str:
    return buffer.decode("utf-8", "surrogateescape")


def _check_size(file: Input, chunks: _Chunks, record: Unfinished) -> None:
    if not chunks.final and len(chunks.buffer) <= files.MAX_RECORD_BYTES:
        return
    if record.quote_line is not None:
        line = chunks.line + record.quote_line
        raise SourceError(f"{file.path}, line {line}: the quote that opens here is never closed; {_NO_QUOTES}")
    raise SourceError(f"{file.path}, line {chunks.line}: the line is longer than {files.MAX_RECORD_BYTES >> 20} MB")


def _encoding(name: str) -> tuple[str, bool]:
    """The codec's own name, and whether a byte that does not fit can be told from its neighbours."""
    try:
        codec = codecs.lookup(name).name
        every = bytes(range(256)).decode(codec, "replace")
    except (LookupError, UnicodeError):
        close = difflib.get_close_matches(name.lower().replace("-", "_"), encodings.aliases.aliases, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "common ones are utf-8, latin-1, cp1252, utf-16"
        raise SourceError(f"`encoding: {name}` is not known; {hint}") from None
    single = len(every) == 256 and every[:128].isascii()
    return codec, single or codec in ("utf-8", "utf-8-sig")


def _other_encoding(encoding: str) -> str:
    if encoding.lower().startswith("utf"):
        return "the file may be cp1252 or latin-1: write `encoding: cp1252`"
    return "the file may be utf-8: write `encoding: utf-8`"


def _same_columns(first: Input, names: list[str], other: Input, others: list[str]) -> None:
    for name in names:
        if name not in others:
            raise SourceError(f"{other.path} has no column '{name}', which {first.path} has; load them apart")
    for name in others:
        if name not in names:
            raise SourceError(f"{other.path} has a column '{name}', which {first.path} does not have; load them apart")
