"""What a checkpoint says, read with sqlite3 and without a line of the loader, and whether it adds up."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

Row = dict[str, Any]
_COUNTED = ("rejected", "sent", "in_doubt", "pending")


@dataclass(frozen=True)
class Books:
    """The tables of a checkpoint. `folder`: the state they lie in."""

    folder: Path
    runs: list[Row]
    destinations: list[Row]
    chunks: list[Row]
    refusals: list[Row]
    planned: list[Row]

    @property
    def unfinished(self) -> bool:
        """Whether a run has something left to send."""
        return any(run["status"] not in ("done", "in_doubt") for run in self.runs)

    @property
    def doubts(self) -> bool:
        """Whether a chunk is in doubt."""
        return any(chunk["status"] in ("in_doubt", "sending") for chunk in self.chunks)

    @property
    def refused(self) -> bool:
        """Whether `loader retry` has something to send."""
        return any(refusal["reason"] == "refused" and refusal["retried"] is None for refusal in self.refusals)

    def totals(self) -> dict[tuple[str, str], dict[str, int]]:
        """(run, destination) → events by what became of them. Fails where they do not add up."""
        found = {}
        for run in self.runs:
            assert run["rows_read"] == run["rows_filtered"] + run["rows_rejected"] + run["events"], run
        for row in self.destinations:
            key = row["run"], row["destination"]
            own = [chunk for chunk in self.chunks if (chunk["run"], chunk["destination"]) == key]
            position = 0
            for chunk in own:
                assert chunk["start"] == position, f"a gap or an overlap before {chunk}"
                assert 0 <= chunk["refused"] <= chunk["events"], chunk
                position += chunk["events"]
            staged = row["events"] - row["already_delivered"] - row["rejected"]
            assert position == staged, f"{position} events in chunks of {staged}: {row}"
            after = sum((refusal["run"], refusal["destination"]) == key for refusal in self.refusals)
            assert after == sum(chunk["refused"] for chunk in own), f"{after} refusals: {row}"
            before = sum(p["count"] for p in self.planned if (p["run"], p["destination"]) == key)
            assert before == row["rejected"], f"{before} rejections of the plan: {row}"
            left: Counter[str] = Counter()
            for chunk in own:
                status = "in_doubt" if chunk["status"] == "sending" else chunk["status"]
                left[status] += chunk["events"] - chunk["refused"]
            assert left.pop("rejected", 0) == 0
            assert left.keys() <= {"pending", "in_doubt", "sent"}, left
            found[key] = {**dict.fromkeys(_COUNTED, 0), **left, "rejected": row["rejected"] + after}
        return found

    def rows_of(self, chunk: Row) -> set[int]:
        """The numbers of the rows of a chunk's events, out of its part."""
        same = [c["start"] for c in self.chunks if all(c[key] == chunk[key] for key in ("run", "destination", "part"))]
        path = self.folder / "runs" / chunk["run"] / chunk["destination"] / f"{chunk['part']:05d}.parquet"
        rows = pl.read_parquet(path, columns=["row"]).get_column("row")
        return set(rows.slice(chunk["start"] - min(same), chunk["events"]).to_list())

    def doubted_rows(self) -> set[int]:
        """The rows of all chunks that are or were in doubt."""
        return {row for chunk in self.chunks if chunk["doubted"] for row in self.rows_of(chunk)}

    def sent_rows(self) -> set[int]:
        """The rows of the events that count as sent."""
        found: set[int] = set()
        for chunk in self.chunks:
            if chunk["status"] == "sent":
                key = chunk["run"], chunk["destination"]
                found |= self.rows_of(chunk) - {r["row"] for r in self.refusals if (r["run"], r["destination"]) == key}
        return found


def read(folder: Path) -> Books | None:
    """The books of a state folder that nobody holds, or None where no checkpoint was made yet.

    A copy is read: to read is to recover what a killed process left, and that is for the loader to do.
    """
    if not (folder / "checkpoint.db").exists():
        return None
    with TemporaryDirectory(prefix="books-") as copy, closing(sqlite3.connect(f"{copy}/checkpoint.db")) as connection:
        for path in folder.glob("checkpoint.db*"):
            shutil.copy(path, copy)
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"

        def table(name: str, order: str) -> list[Row]:
            return [dict(row) for row in connection.execute(f"SELECT * FROM {name} ORDER BY {order}")]

        return Books(
            folder,
            table("runs", "run"),
            table("destinations", "run, position"),
            table("chunks", "run, destination, start"),
            table("refusals", "run, destination, row"),
            table("planned", "run"),
        )
