"""A mapping for data that has none yet: the source is read from end to end, and what it proves is written down.

Nothing is kept or sent, no credentials of providers are needed.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr, TypeAdapter

from loader.errors import SourceError, UsageError
from loader.jsontype import Digits, is_json
from loader.mapping.environment import expand, missing_message
from loader.mapping.paths import resolve_source
from loader.mapping.proof import Column, Proof, leaves
from loader.mapping.scaffold import Found, Scaffold, scaffold
from loader.providers import PROVIDERS
from loader.settings import SourceSettings, SqlSettings
from loader.sources import Input, Source, files, found_files, open_source
from loader.sources.remote import SCHEMES

_TYPES = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".db": "sqlite", ".sqlite": "sqlite", ".sqlite3": "sqlite",
}  # fmt: skip
_PACKED = (".gz", ".zst")
_REMOTE = tuple(f"{scheme}://" for scheme in SCHEMES)
_SEPARATORS = ",;\t|"
_HEAD_BYTES = 1 << 16
_QUOTES = ("ragged_row", "bad_quotes")
_SETTINGS: TypeAdapter[SourceSettings] = TypeAdapter(SourceSettings)
_HALVES = re.compile("[\ud800-\udfff]")
_LETTERS = re.compile("[^\x00-\x7f\ud800-\udfff]")

# So many rows were read, and so many could not be.
Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class Read:
    """A source that was read: its columns, all its rows, and how many of them were no rows, by reason."""

    columns: tuple[Column, ...]
    rows: int
    unread: Mapping[str, int]

    @property
    def lost(self) -> int:
        """Rows that could not be read."""
        return sum(self.unread.values())


@dataclass(frozen=True)
class Initialized:
    """What was found in the source and the mapping made of it. `secret`: the variable that is to hold the URL."""

    found: Found
    scaffold: Scaffold
    secret: str | None = None


def default_output(source: str, provider: str, table: str | None) -> Path:
    """`<stem>_to_<provider>.yaml` in the current folder."""
    return Path(f"{_stem(source, table)}_to_{provider}.yaml")


def initialize(
    source: str, provider: str, output: Path, watch: Watch, *, table: str | None = None, query: str | None = None
) -> Initialized:
    """Read `source` (a file, a glob or a SQLAlchemy URL with a `table` or a `query`) and make a mapping of it.

    `output`: where the mapping will stand; its paths are relative to that. Raises UsageError and SourceError.
    """
    secret, key = None, None
    if re.match(r"[a-z]{2}\w*(\+\w+)?:(?!//)", source) and not Path(source).exists():
        # What was meant as a URL may hold a password.
        raise UsageError("the source is no file, and no URL either: that has :// behind its first word")
    folder = output.absolute().parent
    if _type(source) == "sqlite" and "://" not in source:
        source = f"sqlite:///{source}"
    if _is_database(source):
        settings, shown, key, secret = _database(source, table, query, folder)
        read = _read(settings, [], watch)
        origin = "a query" if query else f"the table {table}"
    else:
        if table or query:
            raise UsageError(f"{_name(source)} is a file; --table and --query are for databases")
        settings, read = _file(source, watch)
        path, secret = _path(source, folder)
        shown = {**settings.model_dump(exclude_unset=True), "path": path}
        origin = _name(source)
    if not read.rows - read.lost:
        raise SourceError(f"{origin} has no rows that can be read, so that nothing can be proven of its columns")
    found = Found(shown, origin, _stem(source, table), read.columns, read.rows, read.lost, key)
    return Initialized(found, scaffold(found, PROVIDERS[provider], datetime.now(UTC)), secret)


def _is_database(source: str) -> bool:
    return source.startswith("${") or ("://" in source and not source.lower().startswith(_REMOTE))


def _name(source: str) -> str:
    """The last part of a path or an address; of https without the query, of which nothing may be shown."""
    return Path(urlsplit(source).path if source.lower().startswith("https://") else source).name


def _type(source: str) -> str | None:
    name = _name(source).lower()
    for ending in _PACKED:
        name = name.removesuffix(ending)
    return _TYPES.get(Path(name).suffix)


def _stem(source: str, table: str | None) -> str:
    if table is not None:
        return table
    if _is_database(source) or _type(source) == "sqlite":
        return "event"
    name = _name(source)
    for ending in _PACKED:
        name = name.removesuffix(ending)
    return re.sub(r"[*?\[\]]+", "", Path(name).stem) or "event"


# Files ----------------------------------------------------------------------------------------------------------------


def _file(source: str, watch: Watch) -> tuple[SourceSettings, Read]:
    kind = _type(source)
    if kind is None:
        listed = ", ".join(ending for ending, of in _TYPES.items() if of != "sqlite")
        raise UsageError(
            f"{_name(source)}: what is in the file is told by its ending: {listed} "
            "(.gz and .zst may follow the texts); a database is given by its URL, such as postgresql://user@host/database"
        )
    given: dict[str, Any] = {"type": kind, "path": source}
    with found_files(_SETTINGS.validate_python(given)) as inputs:
        if kind == "csv":
            return _csv(given, inputs, watch)
        if kind == "jsonl":
            given |= _mixed(given, inputs)
        settings = _SETTINGS.validate_python(given)
        return settings, _read(settings, inputs, watch)


def _path(source: str, folder: Path) -> tuple[str, str | None]:
    """What the mapping says of a file, and the variable that is to hold an address with a secret."""
    if not source.lower().startswith(_REMOTE):
        return Path(os.path.relpath(source, folder)).as_posix(), None
    parts = urlsplit(source)
    if parts.scheme.lower() == "https" and (parts.query or "@" in parts.netloc):
        return "${SOURCE_URL}", "SOURCE_URL"
    return source.replace("${", "$${"), None


def _csv(given: dict[str, Any], inputs: list[Input], watch: Watch) -> tuple[SourceSettings, Read]:
    encoding = _encoding(inputs)
    separator = _separator(inputs[0], encoding)
    given |= {"separator": separator} if separator != "," else {}
    given |= {"encoding": encoding} if encoding != "utf-8" else {}
    settings = _SETTINGS.validate_python(given)
    trouble: SourceError | None = None
    try:
        read = _read(settings, inputs, watch)
    except SourceError as error:
        if "quote" not in str(error):
            raise
        trouble, read = error, Read((), 0, {})
    if trouble is None and not any(reason in read.unread for reason in _QUOTES):
        return settings, read
    # Quotes may be ordinary characters in this file, such as inches: then no row is lost without them.
    without = _SETTINGS.validate_python({**given, "quote": ""})
    try:
        other = _read(without, inputs, watch)
    except SourceError:
        other = None
    if other is not None and not other.lost:
        return without, other
    if trouble is not None:
        raise trouble
    return settings, read


def _encoding(inputs: list[Input]) -> str:
    """`utf-8`, `utf-16` (with a mark), or else what all bytes of the files can be: `cp1252` or `latin-1`."""
    possible, good, bad = ["cp1252", "latin-1"], 0, 0
    for file in inputs:
        with files.opened(file) as content:
            decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
            block = content.read(files.BLOCK_BYTES)
            if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return "utf-16"
            files.check_text(file.path, block, encoding=None)
            while block:
                text = decoder.decode(block)
                if not text.isascii():
                    good += len(_LETTERS.findall(text))
                    bad += len(_HALVES.findall(text))
                    possible = [name for name in possible if _decodes(block, name)]
                block = content.read(files.BLOCK_BYTES)
            bad += len(decoder.decode(b"", final=True))
    # A few damaged letters in a file of UTF-8 are rows to reject, not another encoding.
    return "utf-8" if good >= bad else possible[0]


def _decodes(block: bytes, encoding: str) -> bool:
    try:
        block.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _separator(file: Input, encoding: str) -> str:
    """The separator that gives the first records as many cells as the header has, more than one."""
    with files.opened(file) as content:
        # The last record may be cut.
        head = content.read(_HEAD_BYTES).decode(encoding, "replace").lstrip("\ufeff")
    scores = []
    for at, separator in enumerate(_SEPARATORS):
        try:
            records = csv.reader(io.StringIO(head, newline=""), delimiter=separator)
            widths = [len(record) for record in records if record]
        except csv.Error:
            continue
        alike = sum(width == widths[0] for width in widths) / len(widths) if widths and widths[0] > 1 else 0
        scores.append((alike, widths[0] if widths else 0, -at, separator))
    best = max(scores, default=(0, 0, 0, ","))
    return best[-1] if best[0] else ","


def _mixed(given: dict[str, Any], inputs: list[Input]) -> dict[str, Any]:
    """`types` of JSON lines: the columns whose values are of several kinds, such as numbers and texts, as text."""
    source = open_source(_SETTINGS.validate_python(given), inputs, timezone=None, cursor=None, used=())
    doubtful = [name for name, dtype in source.columns.items() if is_json(dtype) and not isinstance(dtype, Digits)]
    types = {}
    for name in doubtful:
        try:
            open_source(_SETTINGS.validate_python(given), inputs, timezone=None, cursor=None, used=(name,))
        except SourceError:
            types[name] = "text"
    return {"types": types} if types else {}


# Databases ------------------------------------------------------------------------------------------------------------


def _database(
    url: str, name: str | None, query: str | None, folder: Path
) -> tuple[SourceSettings, dict[str, object], str | None, str | None]:
    """Settings to read with, what the mapping says instead, the table's key, and the variable for a secret URL."""
    if (name is None) == (query is None):
        raise UsageError("a database needs --table, or --query with a SELECT (one of the two)")
    expanded = expand(url, os.environ)
    if expanded.missing:
        raise UsageError(missing_message(expanded.missing[0], os.environ))
    literal = expanded.text == url
    probe = SqlSettings(type="sql", url=SecretStr(expanded.text), query="SELECT 1")
    # A variable's path is relative to the mapping, as it will be; one that was typed is relative to here.
    resolved = resolve_source(probe, Path.cwd() if literal else folder)
    assert isinstance(resolved, SqlSettings)
    key = None
    if name is not None:
        from loader.sources.table import table  # noqa: PLC0415 - SQLAlchemy takes its time

        described = table(resolved.url, name)
        query, key = described.query, described.key
    text = textwrap.dedent(query or "").strip()
    settings = resolved.model_copy(update={"query": text})
    shown, secret = url, None
    if literal and _has_secret(expanded.text):
        shown, secret = "${DATABASE_URL}", "DATABASE_URL"
    elif literal:
        shown = _relative(url, folder).replace("${", "$${")
    return settings, {"type": "sql", "url": shown, "query": text}, key, secret


def _has_secret(url: str) -> bool:
    import sqlalchemy as sa  # noqa: PLC0415 - it takes its time

    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return True
    return parsed.password is not None or any("pass" in key or "key" in key for key in parsed.query)


def _relative(url: str, folder: Path) -> str:
    """A URL of SQLite or DuckDB whose path is relative to here, relative to `folder`; others as they are."""
    match = re.fullmatch(r"((?:sqlite(?:\+\w+)?|duckdb):///)([^/?:][^?:]*)(.*)", url, re.DOTALL)
    if match is None:
        return url
    return f"{match[1]}{Path(os.path.relpath(match[2], folder)).as_posix()}{match[3]}"


# Reading --------------------------------------------------------------------------------------------------------------


def _read(settings: SourceSettings, inputs: list[Input], watch: Watch) -> Read:
    """All rows of a source, and what they prove. Raises SourceError."""
    used = () if settings.type == "jsonl" and not settings.types else None
    source: Source = open_source(settings, inputs, timezone="UTC", cursor=None, used=used)
    try:
        proofs = [Proof(path, dtype, numbers=settings.type == "csv") for path, dtype in leaves(source.columns)]
        rows, unread = 0, dict[str, int]()
        for frame in source.frames():
            for proof in proofs:
                proof.see(frame.rows)
            rows += frame.rows.height + frame.rejected.height
            for reason, count in frame.rejected.get_column("reason").value_counts().iter_rows():
                unread[reason] = unread.get(reason, 0) + count
            watch(rows, sum(unread.values()))
    finally:
        source.close()
    # What became text because it was mixed is nothing else, whatever it looks like.
    texts = getattr(settings, "types", {})
    columns = [proof.column() for proof in proofs]
    return Read(
        tuple(replace(c, kind="text", convert=False) if c.path[0] in texts else c for c in columns), rows, unread
    )
