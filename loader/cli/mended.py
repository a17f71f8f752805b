"""Rejected rows written in the source's own columns, ready to be mended and loaded."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from loader.checkpoint import DOUBTED, Checkpoint
from loader.cli.rejected import UNREADABLE, with_records
from loader.errors import LoaderError, UsageError
from loader.jsontype import holds_json
from loader.mapping import read
from loader.settings import CsvSettings, SourceSettings, SqlSettings
from loader.sources import found_files, open_source
from loader.sources.base import printable

_decode_value = json.JSONDecoder().raw_decode
_BLANKS = re.compile(r"[ \t\r\n]*")
# What a record holds beside the source's columns: cells too many, and the line of a row that is no row.
EXTRA, RAW = "_extra", "_raw"


@dataclass
class Written:
    """`rows` in `file`, under another name until `keep`.

    `unreadable`: words about each row that could not be read. `missing`: rows that are no longer kept, with the run
    that read them. `elsewhere`: rows of which other destinations get an event. `doubtful`: rows whose events may have
    arrived. `cursor`: whether the source's cursor would filter the rows. `before`: events whose rows stand in another
    file. `pruned`: rejections of runs whose rows were removed.
    """

    file: Path
    rows: int = 0
    unreadable: list[str] = field(default_factory=list)
    missing: list[tuple[str, int]] = field(default_factory=list)
    elsewhere: int = 0
    doubtful: int = 0
    cursor: bool = False
    before: int = 0
    pruned: int = 0

    @property
    def unfinished(self) -> Path:
        """Where the rows stand before `keep`."""
        return self.file.with_name(self.file.name + ".unfinished")

    def keep(self) -> None:
        """Let `file` be the rows. Raises UsageError."""
        try:
            self.unfinished.replace(self.file)
        except OSError as error:
            self.unfinished.unlink(missing_ok=True)
            raise UsageError(f"{self.file} cannot be written: {error.strerror}") from None


@dataclass(frozen=True)
class Record:
    """A row: each column's JSON text as it is, or, where the row is none, the `raw` line.

    `ragged`: it has cells of `members` alone, and of `_extra`.
    """

    members: dict[str, str]
    raw: str | None = None
    ragged: bool = False


def write(
    file: Path, mapping: Path, checkpoint: Checkpoint, folder: Path, rejected: dict[str, pl.DataFrame]
) -> Written:
    """Write the rows of `rejected` (run that read them → `rejections_of`), in order, each once. Raises UsageError."""
    writers: dict[str, Writer] = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
    if file.suffix not in writers:
        raise UsageError(f"--output takes a file that ends in .csv, .jsonl or .parquet, not {file}")
    inputs = {row["path"] for run in checkpoint.all_runs() for row in checkpoint.files_of(run["run"])}
    if str(file.absolute()) in inputs or file.absolute() == mapping.absolute():
        raise UsageError(f"{file} is read by the mapping; choose another file for --output")
    written = Written(file)
    columns: dict[str, pl.DataType | None] = {}
    records: list[Record] = []
    for run, frame in rejected.items():
        destinations = len(checkpoint.destinations_of(run))
        by_row = frame.drop_nulls("destination").group_by("row").agg(pl.col("destination").n_unique())
        refusing = dict(by_row.iter_rows())
        once = frame.unique("row", keep="first", maintain_order=True)
        complete, known = with_records(checkpoint, folder, run, once)
        for name, dtype in known.items():
            columns.setdefault(name, dtype)
        for row, reason, message, record, destination in complete.select(
            "row", "reason", "message", "record", "destination"
        ).iter_rows():
            if record is None:
                written.missing.append((run, row))
                continue
            members = _members(record)
            ragged = reason == "ragged_row" and destination is None
            records.append(Record({}, record) if members is None else Record(members, ragged=ragged))
            written.elsewhere += refusing.get(row, destinations) < destinations
            written.doubtful += reason == "skipped" or message.startswith(DOUBTED)
            if destination is None and reason in UNREADABLE:
                written.unreadable.append(f"row {row:,} could not be read: {message}")
    source = _source(mapping)
    written.cursor = source is not None and source.type != "sql" and source.cursor is not None
    _complete(columns, source, records)
    written.rows = len(records)
    try:
        # Personal data, like all that the state holds.
        written.unfinished.touch(mode=0o600)
        writers[file.suffix](written.unfinished, records, columns, source)
    except (OSError, UnicodeEncodeError, csv.Error, pl.exceptions.PolarsError) as error:
        written.unfinished.unlink(missing_ok=True)
        raise UsageError(f"{file} cannot be written: {getattr(error, 'strerror', None) or error}") from None
    return written


Writer = Callable[[Path, Sequence[Record], dict[str, pl.DataType | None], SourceSettings | None], None]


def _source(mapping: Path) -> SourceSettings | None:
    """How the source is written; None where the mapping cannot be read any more."""
    try:
        return read(mapping, credentials="optional").source
    except LoaderError:
        return None


def _complete(columns: dict[str, pl.DataType | None], source: SourceSettings | None, records: Iterable[Record]) -> None:
    """Add the columns that the plan does not tell: it kept no row, or the records hold more."""
    if not columns and source is not None and not isinstance(source, SqlSettings):
        try:
            with found_files(source) as inputs:
                columns.update(open_source(source, inputs, timezone="UTC", cursor=None).columns)
        except LoaderError:
            # The files are gone or have changed: the records themselves name the columns.
            pass
    for record in records:
        for name in record.members:
            if name != EXTRA:
                columns.setdefault(name, None)


def _members(text: str) -> dict[str, str] | None:
    """The members of a JSON object, each value's text untouched, so that numbers keep their digits; None: no object."""
    found: dict[str, str] = {}
    try:
        if not text.startswith("{"):
            return None
        at = _skip(text, 1)
        while text[at] != "}":
            if found:
                at = _skip(text, at + 1)
            key, at = _decode_value(text, at)
            start = _skip(text, _skip(text, at) + 1)
            _, at = _decode_value(text, start)
            found[key] = text[start:at]
            at = _skip(text, at)
        # What stands behind the object would be lost.
        return found if _skip(text, at + 1) == len(text) else None
    except (ValueError, IndexError, RecursionError):
        return None


def _skip(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return at if found is None else found.end()


def _text(value: str | None) -> str:
    """The cell of a JSON text: null is empty, texts lose their quotes, all else stays."""
    if value is None or value == "null":
        return ""
    decoded: str = json.loads(value) if value.startswith('"') else value
    # Half a character, such as \ud800, is no text; it is written out.
    return printable(decoded)


def _write_csv(
    path: Path, records: Sequence[Record], columns: dict[str, pl.DataType | None], source: SourceSettings | None
) -> None:
    like = source if isinstance(source, CsvSettings) else CsvSettings(type="csv", path=["-"])
    with path.open("w", encoding=like.encoding, newline="", errors="strict") as file:

        def put(cells: Collection[str]) -> None:
            # Python leaves a carriage return bare, and a reader takes it for the line's end.
            needed = csv.QUOTE_ALL if any("\r" in cell for cell in cells) else csv.QUOTE_MINIMAL
            quoting = needed if like.quote else csv.QUOTE_NONE
            signs: dict[str, Any] = {"delimiter": like.separator, "quotechar": like.quote or None, "quoting": quoting}
            csv.writer(file, **signs, lineterminator="\n").writerow(cells)

        if like.has_header:
            put(columns)
        for record in records:
            if record.raw is not None:
                file.write(record.raw.rstrip("\r\n") + "\n")
            elif record.ragged:
                # As ragged as it was: cells that somebody invents would hide what is to be mended.
                known = [_text(record.members[name]) for name in columns if name in record.members]
                put([*known, *json.loads(record.members.get(EXTRA, "[]"))])
            else:
                put([_text(record.members.get(name)) for name in columns])


def _write_jsonl(
    path: Path, records: Sequence[Record], _columns: dict[str, pl.DataType | None], source: SourceSettings | None
) -> None:
    lines_of_json = source is not None and source.type == "jsonl"
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for record in records:
            if record.raw is not None:
                raw = record.raw.rstrip("\r\n")
                file.write((raw if lines_of_json else json.dumps({RAW: raw}, ensure_ascii=False)) + "\n")
                continue
            members = (f"{json.dumps(name, ensure_ascii=False)}:{value}" for name, value in record.members.items())
            file.write("{" + ",".join(members) + "}\n")


def _write_parquet(
    path: Path, records: Sequence[Record], columns: dict[str, pl.DataType | None], _source: SourceSettings | None
) -> None:
    series = [_series(name, dtype, [record.members.get(name) for record in records]) for name, dtype in columns.items()]
    for name, texts in (
        (EXTRA, [record.members.get(EXTRA) for record in records]),
        (RAW, [record.raw for record in records]),
    ):
        if any(text is not None for text in texts):
            series.append(pl.Series(name, texts, pl.String))
    pl.DataFrame(series).write_parquet(path)


def _series(name: str, dtype: pl.DataType | None, texts: list[str | None]) -> pl.Series:
    raw = pl.Series(name, texts, pl.String)
    if dtype is not None and holds_json(dtype):
        return raw
    if dtype is not None:
        try:
            return raw.str.json_decode(dtype)
        except pl.exceptions.PolarsError:
            # Such as a binary column, which JSON text does not hold.
            pass
    return pl.Series(name, [None if text is None else _text(text) for text in texts], pl.String)
