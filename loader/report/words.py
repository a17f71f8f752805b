"""Numbers, durations and tables as people read them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path


def plural(number: int, noun: str) -> str:
    """`1 event`, `1,200 events`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """`0.3 s`, `45 s`, `2 min 5 s`, `1 h 12 min`, `3 days 4 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, below, smaller in (("days", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size * (2 if unit == "days" else 1):
            # Rounded to the smaller unit first, so that no `1 h 60 min` appears.
            rounded = round(whole / smaller) * smaller
            rest = rounded % size // smaller
            return f"{rounded // size:,} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def size(number: int) -> str:
    """Bytes: `820 bytes`, `12.3 kB`, `1.2 GB`."""
    if number < 1000:
        return plural(number, "byte")
    amount, units = number / 1000, ["kB", "MB", "GB", "TB"]
    while amount >= 999.95 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:,.1f} {units[0]}"


def table(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Lines of aligned columns. `align`: one of `<` and `>` per column."""
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(len(align))]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True)).rstrip()
        for row in rows
    ]


def one_line(text: str, most: int = 200) -> str:
    """`text` on one line, cut at `most` characters."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= most else flat[: most - 3] + "..."


def command(name: str, mapping: Path | str, *options: str, state: Path | None = None) -> str:
    """A command as one can paste it into a shell."""
    words = ["loader", name, str(mapping), *options]
    if state is not None:
        words += ["--state", str(state)]
    return shlex.join(words)
