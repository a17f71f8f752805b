"""Payloads beside their rows."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Protocol

from loader.report.words import one_line

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')


class Reason(Protocol):
    """Why something is rejected."""

    @property
    def reason(self) -> str: ...

    @property
    def message(self) -> str: ...


class Payload(Protocol):
    """What a destination would get of a row."""

    @property
    def destination(self) -> str: ...

    @property
    def body(self) -> str | None: ...

    @property
    def rejected(self) -> Reason | None: ...

    @property
    def late(self) -> str | None: ...


class Row(Protocol):
    """A row with its payloads."""

    @property
    def number(self) -> int: ...

    @property
    def record(self) -> str: ...

    @property
    def payloads(self) -> Sequence[Payload]: ...

    @property
    def rejected(self) -> Reason | None: ...


def pretty(text: str) -> str:
    """JSON text with line breaks and indents. Numbers keep every digit, which parsing would cost them."""
    out: list[str] = []
    depth, before = 0, ""
    for piece in _TOKEN.findall(text):
        if piece in "}]":
            depth -= 1
            out.append(piece if before in "{[" and before else f"\n{'  ' * depth}{piece}")
        else:
            if before in ("{", "[", ","):
                out.append("\n" + "  " * depth)
            out.append(": " if piece == ":" else piece)
            depth += piece in "{["
        before = piece
    return "".join(out)


def is_json(text: str) -> bool:
    """Whether a record is JSON, not a raw line."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def preview(rows: Sequence[Row], filtered: int) -> str:
    """Every row, and below it what each destination would get or why it gets nothing."""
    parts = [_row(row) for row in rows]
    if not rows:
        parts.append("no rows")
    if filtered:
        parts.append(f"filtered before the last row shown: {filtered:,}" if rows else f"filtered: {filtered:,}")
    return "\n\n".join(parts)


def _row(row: Row) -> str:
    lines = [f"row {row.number:,}", _indented(pretty(row.record) if is_json(row.record) else one_line(row.record))]
    if row.rejected is not None:
        lines.append(f"  rejected ({row.rejected.reason}): {row.rejected.message}")
    for payload in row.payloads:
        if payload.body is not None:
            lines += [f"  -> {payload.destination}", _indented(pretty(payload.body), 4)]
            if payload.late is not None:
                lines.append(f"     late: {payload.late}; a plan stops here until `late_events:` says what to do")
        elif payload.rejected is not None:
            why = payload.rejected
            lines.append(f"  -> {payload.destination}: rejected ({why.reason}): {why.message}")
    return "\n".join(lines)


def _indented(text: str, by: int = 2) -> str:
    return "\n".join(" " * by + line for line in text.splitlines())
