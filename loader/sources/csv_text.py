"""The grammar of CSV text, twice: by polars where a block is proven to be well formed, else record by record.

A cell that begins with a quote ends with the next quote that is not doubled, and a separator or the line's end must
follow. A quote anywhere else is an ordinary character. Records end at a line feed outside of quotes; a carriage return
before it belongs to it. Lines of nothing, or of blanks, are no records where a record has more than one cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl


class Record(NamedTuple):
    """A record as it was read: `end` is where the next begins, `line` counts on from the text's first.

    `raw` is its text without the line's end. `misquoted`: text stands after a closing quote; `cells` are those before.
    """

    end: int
    line: int
    cells: list[str]
    raw: str
    misquoted: bool


@dataclass(frozen=True)
class Unfinished:
    """The text ends inside a record; `quote_line` is the line where an open quote stands, if there is one."""

    quote_line: int | None


class Grammar:
    """CSV with one separator character and one quote character, or none."""

    def __init__(self, separator: str, quote: str | None) -> None:
        self.separator = separator
        self.quote = quote
        self._plain = separator.isascii() and (quote is None or quote.isascii())
        self._sep = separator.encode()
        self._quote = b"" if quote is None else quote.encode()
        s, q = re.escape(separator), "" if quote is None else re.escape(quote)
        self._unquoted = re.compile(f"[^{s}\n]*+")
        self._quoted = re.compile(f"{q}([^{q}]*+(?:{q}{q}[^{q}]*+)*+){q}" if quote else "(?!)")
        bs, bq = re.escape(self._sep), re.escape(self._quote)
        # Text in which each quote belongs to a whole quoted cell. One match, as a match a cell costs four times more.
        self._paired = re.compile(
            b"(?!)"
            if not quote
            else b"(?:(?:\\A|[^%(q)b]*+(?<=[%(s)b\n]))%(q)b[^%(q)b]*+(?:%(q)b%(q)b[^%(q)b]*+)*+"
            b"%(q)b(?![^%(s)b\r\n]))*+[^%(q)b]*+\\Z" % {b"q": bq, b"s": bs}
        )

    def cut(self, buffer: bytes) -> int:
        """Where the last record that is complete ends, if quotes come in pairs; 0 where there is none."""
        end = buffer.rfind(b"\n")
        if end < 0 or not self._opens(buffer):
            return end + 1
        odd = _count(buffer, self._quote, end) % 2
        while odd and end >= 0:
            before = buffer.rfind(b"\n", 0, end)
            odd ^= buffer.count(self._quote, max(before, 0), end) % 2
            end = before
        return end + 1

    def fast(self, block: bytes, columns: int) -> tuple[pl.DataFrame, int] | None:
        """The cells of `block` (whole records) as `columns` columns of text, an empty cell being null or "", and how
        many lines they take.

        None where it is not proven that polars reads the block as the grammar says.
        """
        # At the end of its input polars takes a last separator for nothing.
        block = block if block.endswith(b"\n") else block + b"\n"
        if not self._plain or b"\0" in block or block.startswith(b"\xef\xbb\xbf"):
            return None
        carriage_returns = block.count(b"\r") if b"\r" in block else 0
        if carriage_returns and carriage_returns != block.count(b"\r\n"):
            return None
        if not block.isascii():
            try:
                # Proves that it is UTF-8, several times faster than Python's decoder.
                pl.Series([block]).cast(pl.String)
            except pl.exceptions.PolarsError:
                return None
        quoted = self._opens(block)
        cells = self._few_cells(block) if quoted else None
        if quoted and cells is None and self._paired.match(block) is None:
            return None
        try:
            rows = pl.read_csv(
                block,
                has_header=False,
                schema={str(i): pl.String for i in range(columns)},
                separator=self.separator,
                quote_char=self.quote if quoted else None,
            )
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return None
        lines = block.count(b"\n")

        def occurrences(byte: bytes) -> int:
            """How often `byte` stands in quoted cells."""
            return _occurrences(rows, byte) if cells is None else sum(cell.count(byte) for cell in cells)

        inside = occurrences(b"\n") if lines != rows.height and quoted else 0
        # Polars raises where a record has too many cells. So if all bytes that stand in no cell are as many as the
        # separators, line ends and quotes of these records take, then no record has too few.
        dropped = len(block) - int(rows.select(pl.sum_horizontal(pl.all().str.len_bytes().sum())).item())
        if carriage_returns:
            dropped -= carriage_returns - (occurrences(b"\r") if quoted else 0)
        if quoted and cells is None:
            # Of a doubled quote one is kept.
            kept = _occurrences(rows, self._quote) if self._quote * 2 in block else 0
            dropped -= block.count(self._quote) - kept
        elif cells:
            dropped -= 2 * len(cells) + occurrences(self._quote) // 2
        sound = lines - inside == rows.height and dropped == rows.height * columns
        return (rows, lines) if sound else None

    def _few_cells(self, block: bytes) -> list[bytes] | None:
        """What stands between the quotes of each quoted cell of `block`, which ends with a line end.

        None where the quotes are many, doubled ones too, or one does not belong to a whole cell. Finding each quote is
        several times faster than looking at each byte, as the expressions do, but only where they are few.
        """
        quote, find = self._quote, block.find
        before, behind = self._sep + b"\n", self._sep + b"\r\n"
        cells: list[bytes] = []
        begin, left = find(quote), 1 + len(block) // _FEW
        while begin >= 0:
            if begin and block[begin - 1] not in before:
                return None
            end = find(quote, begin + 1)
            while left and end >= 0 and block[end + 1] == quote[0]:
                end, left = find(quote, end + 2), left - 1
            if not left or end < 0 or block[end + 1] not in behind:
                return None
            left -= 1
            cells.append(block[begin + 1 : end])
            begin = find(quote, end + 1)
        return cells

    def _opens(self, block: bytes) -> bool:
        """Whether a quoted cell may begin in `block`; if not, all its quotes are ordinary characters."""
        quote = self._quote
        if not quote or quote not in block:
            return False
        return block.startswith(quote) or self._sep + quote in block or b"\n" + quote in block

    def records(self, text: str, final: bool) -> Iterator[Record | Unfinished]:
        """The records of `text`, blank lines as records of one empty cell. `final`: nothing follows `text`."""
        at, line, size = 0, 0, len(text)
        quote, separator = self.quote, self.separator
        while at < size:
            end = text.find("\n", at)
            if end < 0 and not final:
                # Without its end a line may still be the middle of a quoted cell.
                yield self._quoted_record(text, at, line, final=False) if quote else Unfinished(None)
                return
            end = size if end < 0 else end
            raw = text[at:end].removesuffix("\r")
            record: Record | Unfinished
            if not quote or quote not in raw:
                record = Record(end + 1, line, raw.split(separator), raw, False)
            else:
                record = self._quoted_record(text, at, line, final)
            yield record
            if isinstance(record, Unfinished):
                return
            line += text.count("\n", at, record.end)
            at = record.end

    def _quoted_record(self, text: str, start: int, line: int, final: bool) -> Record | Unfinished:
        quote = self.quote or ""
        cells: list[str] = []
        at, size = start, len(text)
        while True:
            if text.startswith(quote, at):
                opened = line + text.count("\n", start, at)
                cell = self._quoted.match(text, at)
                # A quote at the very end may be the first of a doubled one.
                if cell is None or (not final and size - cell.end() < 2):
                    return Unfinished(opened)
                cells.append(cell[1].replace(quote * 2, quote))
                end = cell.end()
                if text.startswith("\r\n", end) or (end == size - 1 and text[end] == "\r"):
                    end += 1
                if end < size and text[end] not in (self.separator, "\n"):
                    # Only the lines up to here are given up: what follows them may be sound.
                    stop = text.find("\n", at)
                    if stop < 0 and not final:
                        return Unfinished(None)
                    stop = size if stop < 0 else stop
                    return Record(stop + 1, line, cells[:-1], text[start:stop].removesuffix("\r"), True)
            else:
                plain = self._unquoted.match(text, at)
                end = at if plain is None else plain.end()
                if end == size and not final:
                    return Unfinished(None)
                value = text[at:end]
                cells.append(value if end < size and text[end] == self.separator else value.removesuffix("\r"))
            if end >= size or text[end] == "\n":
                return Record(end + 1, line, cells, text[start:end].removesuffix("\r"), False)
            at = end + 1


# Bytes for each pair of quotes.
_FEW = 200


def _count(block: bytes, byte: bytes, end: int) -> int:
    """How often `byte` stands before `end`; quick where that is seldom."""
    found, at = 0, block.find(byte, 0, end)
    while at >= 0 and found < end // (10 * _FEW):
        found, at = found + 1, block.find(byte, at + 1, end)
    return found if at < 0 else found + block.count(byte, at, end)


def _occurrences(rows: pl.DataFrame, byte: bytes) -> int:
    text = byte.decode()
    return int(rows.select(pl.sum_horizontal(pl.all().str.count_matches(text, literal=True).sum())).item())
