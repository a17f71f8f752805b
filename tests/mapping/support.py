"""Mapping files written for a test, read and bound, and frames of rows for them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping as AbstractMapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loader.errors import MappingError
from loader.mapping import Bound, BoundDestination, Mapped, Mapping, bind, read
from loader.rejection import ROW

SOURCE = "source: {type: csv, path: rows.csv}\n"
BLOOMREACH = "destinations:\n  - {provider: bloomreach, project_token: p, api_token: t, empty_properties: send}\n"
BATCH = "destinations:\n  - {provider: batch, api_key: k, rest_api_key: r}\n"


def write(folder: Path, text: str, name: str = "m.yaml") -> Path:
    """A mapping file with `text`, dedented."""
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def event(folder: Path, fields: str, *, top: str = "", destinations: str = BLOOMREACH) -> Path:
    """A mapping whose event has `fields` (dedented YAML)."""
    body = textwrap.indent(textwrap.dedent(fields).strip("\n"), "  ")
    return write(folder, f"{SOURCE}{top}event:\n{body}\n{destinations}")


def problems(path: Path, columns: AbstractMapping[str, pl.DataType] | None = None, **options: Any) -> list[str]:
    """The problems of a mapping as `line:column: message`; with `columns`, those of binding it."""
    options.setdefault("env", {})

    def check() -> None:
        mapping = read(path, **options)
        if columns is not None:
            bind(mapping, columns)

    with pytest.raises(MappingError) as caught:
        check()
    for problem in caught.value.problems:
        assert problem.file == str(path)
    return [f"{p.line}:{p.column}: {p.message}" for p in caught.value.problems]


def frame(columns: AbstractMapping[str, Any], first: int = 1) -> pl.DataFrame:
    """Rows of a source: its columns with the numbers of the rows."""
    data = pl.DataFrame(columns)
    return data.with_row_index(ROW, offset=first).with_columns(pl.col(ROW).cast(pl.UInt64))


def types(rows: pl.DataFrame) -> dict[str, pl.DataType]:
    """The columns of the source."""
    return {name: dtype for name, dtype in rows.schema.items() if name != ROW}


def bound(path: Path, rows: pl.DataFrame) -> Bound:
    """The mapping at `path`, bound to the columns of `rows`."""
    return bind(read(path, env={}), types(rows))


def mapped(path: Path, rows: pl.DataFrame, destination: int = 0) -> Mapped:
    """What `rows` become for a destination; the frame has the columns that were promised."""
    one: BoundDestination = bound(path, rows).destinations[destination]
    result = one.events(rows)
    assert dict(result.events.schema) == one.columns
    assert len(result.events) + len(result.rejected) == len(rows)
    return result


def one_value(folder: Path, value: str, column: Any, *, top: str = "", name: str = "properties.x") -> Mapped:
    """What the column `a` becomes with `value` (YAML in one line) as a property `x`, or as another field."""
    fields = {"user": "{const: u}", "name": "{const: n}"}
    if name == "properties.x":
        fields["properties"] = "{x: " + value + "}"
    else:
        fields[name] = value
    text = "".join(f"{key}: {written}\n" for key, written in fields.items())
    return mapped(event(folder, text, top=top), frame({"a": column}))


def loaded(folder: Path, text: str, **options: Any) -> Mapping:
    """The mapping with `text`."""
    options.setdefault("env", {})
    return read(write(folder, text), **options)
