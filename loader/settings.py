"""Pieces of the mapping file that more than one layer reads: the strict base model, durations, rates, and `source:`.

A source's settings stand here, below `mapping` and `sources`, because the first reads them from YAML and the
second acts on them, and neither may import the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

ColumnType = Literal["text", "integer", "number", "decimal", "boolean", "datetime", "date"]
TimeUnit = Literal["s", "ms", "us"]

_DURATION_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_RATE_UNITS = {"s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0}


def parse_duration(value: object) -> float:
    """Seconds of a number (seconds) or a text such as `500ms`, `30s`, `5m`, `24h`, `7d`. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("expected seconds, or a text such as 500ms, 30s, 5m, 24h")
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", value)
        if match is None or match[2] not in {"", *_DURATION_UNITS}:
            raise ValueError(f"'{value}' is not a duration; expected seconds, or a text such as 500ms, 30s, 5m, 24h")
        return float(match[1]) * _DURATION_UNITS.get(match[2], 1.0)
    if value < 0:
        raise ValueError("a duration cannot be negative")
    return float(value)


def parse_rate(value: object) -> float:
    """Requests a second of a number (requests a second) or a text such as `100/min`. Raises ValueError."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*([a-z]+))?\s*", value)
        if match is None or match[2] not in {None, *_RATE_UNITS}:
            raise ValueError(f"'{value}' is not a rate; expected requests and a unit such as 10/s, 100/min, 5000/h")
        value = float(match[1]) / _RATE_UNITS.get(match[2] or "s", 1.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise ValueError("expected a rate above zero, such as 10/s, 100/min, 5000/h")
    return float(value)


def parse_range(value: object) -> tuple[int | None, int | None]:
    """Lowest and highest of a text such as `1000..`, `..5000`, `1000..5000`, or of one number. Raises ValueError."""
    match = re.fullmatch(r"\s*(\d*)\s*(\.\.)?\s*(\d*)\s*", str(value))
    if isinstance(value, bool) or match is None or not (match[1] or match[3]):
        raise ValueError("expected a number of rows such as 1000.., ..5000 or 1000..5000")
    low, high = (int(digits) if digits else None for digits in (match[1], match[3] if match[2] else match[1]))
    if low is not None and high is not None and low > high:
        raise ValueError(f"{low} is more than {high}; write the lower number first")
    return low, high


def parse_change(value: object) -> tuple[float | None, float | None]:
    """Lowest and highest change, as parts of one, of a text such as `-50%..`, `-50%..+200%`, or `50%` for both sides.

    Raises ValueError.
    """
    share = r"([+-]?\d+(?:\.\d+)?)\s*%"
    text = value if isinstance(value, str) else ""
    if (both := re.fullmatch(rf"\s*{share}\s*", text)) and (size := float(both[1]) / 100) > 0:
        return -size, size
    match = re.fullmatch(rf"\s*(?:{share})?\s*\.\.\s*(?:{share})?\s*", text)
    if match is None or not (match[1] or match[2]):
        raise ValueError("expected a change such as 50%, -50%.. or -50%..+200%")
    low, high = (float(number) / 100 if number else None for number in match.groups())
    if low is not None and high is not None and low > high:
        raise ValueError("the lower change stands first, such as -50%..+200%")
    return low, high


Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=float | str)]
RowRange = Annotated[tuple[int | None, int | None], BeforeValidator(parse_range, json_schema_input_type=int | str)]
Change = Annotated[tuple[float | None, float | None], BeforeValidator(parse_change, json_schema_input_type=str)]
Rate = Annotated[float, BeforeValidator(parse_rate, json_schema_input_type=float | str)]


class Settings(BaseModel):
    """Base of every block of the mapping file: unknown keys are errors, values do not change after reading."""

    # Built when first used: a run uses one kind of source and few of the providers.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)


CursorValue = int | Decimal | float | datetime | date | str


def cursor_to_text(value: CursorValue) -> str:
    """A cursor as the checkpoint stores it: its type and its exact value."""
    if isinstance(value, datetime):
        return f"datetime {value.isoformat()}"
    if isinstance(value, date):
        return f"date {value.isoformat()}"
    kind = "text" if isinstance(value, str) else "integer" if isinstance(value, int) else type(value).__name__.lower()
    return f"{kind} {value}"


def cursor_from_text(text: str) -> CursorValue:
    """The cursor of `cursor_to_text`. Raises ValueError."""
    kind, _, value = text.partition(" ")
    return _CURSORS[kind](value)


_CURSORS: dict[str, Callable[[str], CursorValue]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "integer": int,
    "decimal": Decimal,
    "float": float,
    "text": str,
}


class Cursor(Settings):
    """`cursor:`. Take only rows whose `column` is above the highest value that an earlier plan took."""

    column: str = Field(description="The column that grows: a time, a date, an integer or a text.")
    initial: int | float | str | None = Field(None, description="Where the first run starts (not taken itself).")
    lag: Duration | int | None = Field(
        None, description="Take this much again below the cursor (seconds or text for times, a number for integers)."
    )


class Expect(Settings):
    """`expect:`. How many rows a run should find, those that are filtered left out."""

    rows: RowRange | None = Field(None, description="How many rows: 1000.., ..5000 or 1000..5000.")
    change: Change | None = Field(
        None,
        description="How far from the median of the last 7 runs, from the fourth run on: 50%, -50%.. or -50%..+200%.",
    )
    unmet: Literal["stop", "say"] = Field("stop", description="Where it is not so: send nothing (exit 2), or say so.")


class _Source(Settings):
    cursor: Cursor | None = Field(None, description="Load only what is new since the last plan.")
    expect: Expect | None = Field(None, description="How many rows a run should find.")


class _Files(_Source):
    settle: Duration = Field(0.0, description="Leave files to a later run that were written less than this ago.")


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class CsvSettings(_Files):
    """`source: {type: csv}`."""

    type: Literal["csv"]
    path: Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])] = Field(
        min_length=1, description="A path or an address, a glob, or a list of them; .gz and .zst are read as they are."
    )
    separator: str = Field(",", min_length=1, max_length=1, description="One character between the cells.")
    quote: str | None = Field('"', max_length=1, description='One character around a cell; "" or null for none.')
    encoding: str = Field("utf-8", description="Any encoding that Python knows: utf-8, latin-1, cp1252, utf-16, …")
    has_header: bool = Field(True, description="Whether the first record names the columns.")
    columns: list[str] | None = Field(None, description="Names of the columns, instead of those of the header.")
    null_values: Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])] = Field(
        default_factory=list, description="Texts that mean null; an empty cell is null anyway."
    )
    types: dict[str, ColumnType] = Field(default_factory=dict, description="Types of columns; the others are text.")

    @model_validator(mode="after")
    def _named_columns(self) -> CsvSettings:
        if not self.has_header and self.columns is None:
            raise ValueError("a file without a header needs `columns`, the names of its columns in order")
        return self


class ParquetSettings(_Files):
    """`source: {type: parquet}`."""

    type: Literal["parquet"]
    path: Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])] = Field(
        min_length=1, description="A path or an address, a glob, or a list of them."
    )


class JsonlSettings(_Files):
    """`source: {type: jsonl}`."""

    type: Literal["jsonl"]
    path: Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])] = Field(
        min_length=1, description="A path or an address, a glob, or a list of them; .gz and .zst are read as they are."
    )
    types: dict[str, ColumnType] = Field(default_factory=dict, description="Types of columns whose values differ.")


class SqlSettings(_Source):
    """`source: {type: sql}`."""

    type: Literal["sql"]
    url: SecretStr = Field(description="A SQLAlchemy URL, such as postgresql://user:password@host/database.")
    query: str = Field(min_length=1, description="One SELECT; `:cursor` and the names of `params` are bound.")
    params: dict[str, Any] = Field(default_factory=dict, description="Values bound to `:name` in the query.")


SourceSettings = Annotated[CsvSettings | ParquetSettings | JsonlSettings | SqlSettings, Field(discriminator="type")]
