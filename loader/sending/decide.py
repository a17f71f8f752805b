"""What a person decides about events that were not delivered: in doubt, or still pending."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import polars as pl
from sqlalchemy.engine import RowMapping

from loader.checkpoint import Checkpoint, refuse, set_chunk

OpenPart = Callable[[str, int], pl.DataFrame]


def resend(checkpoint: Checkpoint, run: str) -> int:
    """Make the chunks of a run that are in doubt pending again; how many events they hold."""
    chunks = checkpoint.chunks_of(run, None, ["in_doubt", "sending"])
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    with checkpoint.writing() as connection:
        for chunk in chunks:
            statement, values = set_chunk(
                run,
                chunk["destination"],
                chunk["start"],
                "pending",
                attempts=chunk["attempts"],
                refused=chunk["refused"],
                message="in doubt, to be sent again",
                changed=now,
            )
            connection.execute(statement, values)
    if chunks:
        checkpoint.set_status(run, "paused")
    return sum(chunk["events"] - chunk["refused"] for chunk in chunks)


def skip(checkpoint: Checkpoint, run: str, destination: str | None, open_part: OpenPart) -> int:
    """Reject the events in doubt of a run, to one destination or all: they may have arrived, and are not sent again."""
    chunks = checkpoint.chunks_of(run, destination, ["in_doubt", "sending"])
    words = "in doubt: it may have arrived; not sent again, as somebody decided"
    # The ids stay taken, for the events may have been delivered.
    return _reject(checkpoint, run, chunks, open_part, "skipped", words, free_ids=False)


def cancel(checkpoint: Checkpoint, run: str, open_part: OpenPart) -> int:
    """Reject the events of a run that are pending; how many."""
    chunks = checkpoint.chunks_of(run, None, ["pending"])
    return _reject(checkpoint, run, chunks, open_part, "cancelled", "pending when the run was cancelled", free_ids=True)


def _reject(
    checkpoint: Checkpoint,
    run: str,
    chunks: Sequence[RowMapping],
    open_part: OpenPart,
    reason: str,
    words: str,
    *,
    free_ids: bool,
) -> int:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    count = 0
    with checkpoint.writing() as connection:
        part: tuple[tuple[str, int], pl.DataFrame] | None = None
        starts = {name: checkpoint.part_starts(run, name) for name in {chunk["destination"] for chunk in chunks}}
        for chunk in chunks:
            destination, key = chunk["destination"], (chunk["destination"], chunk["part"])
            if part is None or part[0] != key:
                part = (key, open_part(*key))
            start = chunk["start"] - starts[destination][chunk["part"]]
            rows = part[1].get_column("row").slice(start, chunk["events"]).to_list()
            refused = {r["row"] for r in checkpoint.refusals_of(run, destination)} if chunk["refused"] else set()
            left = {row: words for row in rows if row not in refused}
            status = set_chunk(
                run,
                destination,
                chunk["start"],
                "rejected",
                attempts=chunk["attempts"],
                refused=chunk["events"],
                message=words,
                changed=now,
            )
            for statement, values in [status, *refuse(run, destination, left, reason, free_ids=free_ids)]:
                connection.execute(statement, values)
            count += len(left)
    return count
