"""Rejections as people read them: by destination and reason, with their meaning and one example each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from loader.rejection import REASONS
from loader.report.words import one_line, plural


@dataclass(frozen=True)
class Example:
    """One rejection. `file`, `row_in_file`: where the source is files. `record`: the row as JSON text."""

    row: int
    field: str | None
    value: str | None
    message: str
    record: str | None
    file: str | None = None
    row_in_file: int | None = None

    def words(self) -> str:
        """`row 17 (orders.csv, its row 3): user (customer_id) is null`."""
        where = ""
        if self.file is not None:
            own = "" if self.row_in_file == self.row else f", its row {self.row_in_file:,}"
            where = f" ({self.file}{own})"
        return f"row {self.row:,}{where}: {one_line(self.message)}"


@dataclass(frozen=True)
class Group:
    """Rejections of one reason. `destination`: '' where the rows made no event at all. `retried`: how many of them
    `loader retry` has planned again since."""

    destination: str
    reason: str
    count: int
    example: Example | None = None
    retried: int = 0

    @property
    def meaning(self) -> str:
        """What the reason means."""
        return REASONS.get(self.reason, "")

    def as_json(self) -> dict[str, Any]:
        """For `--json`; `destination` is null where the rows made no event at all."""
        example = None if self.example is None else dict(vars(self.example))
        return {
            "destination": self.destination or None,
            "reason": self.reason,
            "meaning": self.meaning,
            "count": self.count,
            "retried": self.retried,
            "example": example,
        }


def first_of_each(rejected: pl.DataFrame) -> dict[tuple[str, str], Example]:
    """Destination (or '') and reason → their first rejection in the order of the source.

    `rejected`: `rejection.SCHEMA`, and `destination` and `record` (String).
    """
    in_order = rejected.sort("row", maintain_order=True)
    first = in_order.unique(["destination", "reason"], keep="first", maintain_order=True)
    return {
        (row["destination"] or "", row["reason"]): Example(
            row["row"], row["field"], row["value"], row["message"], row["record"]
        )
        for row in first.iter_rows(named=True)
    }


def grouped(
    counts: dict[tuple[str, str], int], examples: dict[tuple[str, str], Example], retried: dict[tuple[str, str], int]
) -> list[Group]:
    """Groups with the rows that made no event first, then each destination's, the most frequent reasons first."""
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    return [Group(*key, count, examples.get(key), retried.get(key, 0)) for key, count in ordered]


def rejects(run: str, groups: Sequence[Group]) -> str:
    """All groups of one run."""
    parts = [f"run {run}: {plural(sum(group.count for group in groups), 'rejection')}"]
    for group in groups:
        what = plural(group.count, "row")
        if group.destination:
            what = f"{plural(group.count, 'event')} to {group.destination}"
        if group.retried:
            what += f", {'all' if group.retried == group.count else f'{group.retried:,}'} of them retried since"
        lines = [f"{group.reason}: {what}", f"  {group.meaning}"]
        if group.example is not None:
            example = group.example
            lines.append(f"  e.g. {example.words()}")
            if example.value is not None:
                lines.append(f"       {example.field} is '{one_line(example.value)}'")
            if example.record is not None:
                lines.append(f"       {one_line(example.record)}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
