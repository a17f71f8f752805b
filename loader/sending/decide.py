"""What a person decides about events that were not delivered: in doubt, or still pending."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl
from sqlalchemy.engine import RowMapping

from loader.checkpoint import DOUBTED, Checkpoint
from loader.errors import StateError
from loader.sending.journal import count_rejected, refuse, set_chunk, write

OpenPart = Callable[[str, int], pl.DataFrame]


def resend(checkpoint: Checkpoint, run: str) -> int:
    """Make the chunks of a run that are in doubt pending again; how many events they hold."""
    chunks = checkpoint.chunks_of(run, None, ["in_doubt", "sending"])
    with checkpoint.writing() as connection:
        for chunk in chunks:
            status = set_chunk(
                run,
                chunk["destination"],
                chunk["start"],
                "pending",
                attempts=chunk["attempts"],
                refused=chunk["refused"],
                message="in doubt, to be sent again",
            )
            write(connection, [status])
    if chunks:
        checkpoint.set_status(run, "paused")
    return sum(chunk["events"] - chunk["refused"] for chunk in chunks)


def skip(checkpoint: Checkpoint, run: str, destination: str | None, open_part: OpenPart) -> int:
    """Reject the events in doubt of a run, to one destination or all: they may have arrived, and are not sent again.
    How many."""
    chunks = checkpoint.chunks_of(run, destination, ["in_doubt", "sending"])
    return _reject(checkpoint, run, chunks, open_part, "skipped", "not sent again, as somebody decided")


def cancel(checkpoint: Checkpoint, run: str, open_part: OpenPart) -> int:
    """Reject the events of a run that are pending; how many."""
    chunks = checkpoint.chunks_of(run, None, ["pending"])
    return _reject(checkpoint, run, chunks, open_part, "cancelled", "pending when the run was cancelled")


def _reject(
    checkpoint: Checkpoint, run: str, chunks: Sequence[RowMapping], open_part: OpenPart, reason: str, decided: str
) -> int:
    count = 0
    with checkpoint.writing() as connection:
        part: tuple[tuple[str, int], pl.Series | None] | None = None
        starts = {name: checkpoint.part_starts(run, name) for name in {chunk["destination"] for chunk in chunks}}
        for chunk in chunks:
            destination, key = chunk["destination"], (chunk["destination"], chunk["part"])
            if part is None or part[0] != key:
                part = (key, _rows_of(open_part, *key))
            # The ids of what may have been delivered stay taken.
            doubted = chunk["doubted"] or chunk["status"] == "sending"
            words = f"{DOUBTED}: it may have arrived; {decided}" if doubted else decided
            status = set_chunk(
                run,
                destination,
                chunk["start"],
                "rejected",
                attempts=chunk["attempts"],
                refused=chunk["events"],
                message=words,
            )
            write(connection, [status])
            count += chunk["events"] - chunk["refused"]
            if part[1] is None:
                count_rejected(connection, chunk, reason, free_ids=not doubted)
                continue
            rows = part[1].slice(chunk["start"] - starts[destination][chunk["part"]], chunk["events"]).to_list()
            refused = {r["row"] for r in checkpoint.refusals_of(run, destination)} if chunk["refused"] else set()
            left = {row: words for row in rows if row not in refused}
            write(connection, refuse(run, destination, left, reason, free_ids=not doubted))
    return count


def _rows_of(open_part: OpenPart, destination: str, number: int) -> pl.Series | None:
    """The rows of a part's events, or None where it is lost: then its events can still be dropped, but not be named."""
    try:
        return open_part(destination, number).get_column("row")
    except StateError:
        return None
