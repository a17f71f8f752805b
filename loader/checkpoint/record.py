"""What the checkpoint is asked, and told, about runs, chunks, files and ids."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping

from loader.checkpoint.database import Database
from loader.checkpoint.tables import chunks, cursors, destinations, endings, files, ids, meta, planned, refusals, runs
from loader.errors import StateError

# Chunks that are read at once: the bound of memory where a chunk is a single event.
PAGE = 1000

# How the messages of refusals begin whose events may have arrived.
DOUBTED = "in doubt"

# Statuses of a chunk.
STATUSES = ("pending", "sending", "sent", "in_doubt", "rejected")

# Statuses of a run that has nothing left to send.
FINISHED = ("done", "in_doubt")


class Pending(NamedTuple):
    """What is to be known of a chunk to send it: columns of `chunks`."""

    start: int
    number: int
    part: int
    events: int
    refused: int
    attempts: int
    doubted: bool


class Checkpoint(Database):
    """The checkpoint of one mapping."""

    def claim(self, mapping: Path) -> None:
        """Note that this is the state of `mapping`, an absolute path.

        Raises StateError where another mapping has it that is still there and says something else: each would send the
        other's events. One that was moved keeps its state.
        """
        with self.reading() as connection:
            owner = Path(connection.scalar(sa.select(meta.c.mapping)) or "")
        if owner == mapping:
            return
        with contextlib.suppress(OSError):
            if owner.is_absolute() and not owner.samefile(mapping) and owner.read_bytes() != mapping.read_bytes():
                raise StateError(
                    f"the state in {self.path.parent} is that of {owner}. Give {mapping} another name, or a --state of "
                    f"its own; if it is {owner.name} as it is now, move the old one away"
                )
        with self.writing() as connection:
            connection.execute(sa.update(meta).values(mapping=str(mapping)))

    def known_destinations(self) -> set[str]:
        """The names of all destinations that a plan was made for."""
        with self.reading() as connection:
            return set(connection.scalars(sa.select(destinations.c.destination).distinct()))

    # Runs -----------------------------------------------------------------------------------------------------------

    def run(self, run: str) -> RowMapping | None:
        """The row of `runs`, or None."""
        with self.reading() as connection:
            return connection.execute(sa.select(runs).where(runs.c.run == run)).mappings().one_or_none()

    def all_runs(self) -> list[RowMapping]:
        """All runs, oldest first."""
        with self.reading() as connection:
            return list(connection.execute(sa.select(runs).order_by(runs.c.run)).mappings())

    def rows_before(self) -> list[int]:
        """The rows of each plan that were not filtered, the newest first; of those with `--again` none."""
        query = sa.select(runs.c.rows_read - runs.c.rows_filtered).where(runs.c.of.is_(None), ~runs.c.again)
        with self.reading() as connection:
            return list(connection.scalars(query.order_by(runs.c.run.desc())))

    def unfinished(self) -> RowMapping | None:
        """The oldest run with chunks that are still to be sent, or None."""
        query = sa.select(runs).where(runs.c.status.not_in(FINISHED)).order_by(runs.c.run)
        with self.reading() as connection:
            return connection.execute(query).mappings().first()

    def cursor(self, run: str | None = None) -> RowMapping | None:
        """The row of `cursors` that counts, or that of the plan `run`; None where there is none or it was forgotten."""
        query = sa.select(cursors).order_by(cursors.c.number.desc()).limit(1)
        if run is not None:
            query = query.where(cursors.c.run == run)
        with self.reading() as connection:
            found = connection.execute(query).mappings().first()
        return None if found is None or found["value"] is None else found

    def move_cursor(self, column: str, value: str | None, run: str | None = None) -> None:
        """Move the cursor to `value` (`settings.cursor_to_text`), or forget it. `run`: the plan that moves it."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self.writing() as connection:
            number = (connection.scalar(sa.select(sa.func.max(cursors.c.number))) or 0) + 1
            moved = {"number": number, "run": run, "column": column, "value": value, "changed": now}
            connection.execute(sa.insert(cursors).values(moved))

    def ended(self, run: str | None, exit_code: int | None, message: str | None = None) -> None:
        """Note how a command that sends ended, and with which run; that it begins, where there is no exit code yet."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self.writing() as connection:
            for name in dict.fromkeys(["", run or ""]):
                connection.execute(sa.delete(endings).where(endings.c.run == name))
                connection.execute(sa.insert(endings).values(run=name, at=now, exit=exit_code, message=message))
            if exit_code is not None:
                # A run that this command went on with and that something unforeseen stopped.
                left = sa.update(endings).where(endings.c.exit.is_(None))
                connection.execute(left.values(at=now, exit=exit_code, message=message))

    def ending(self, run: str = "") -> RowMapping | None:
        """How the last command ended that dealt with `run`, or the last of all; None where none did."""
        with self.reading() as connection:
            return connection.execute(sa.select(endings).where(endings.c.run == run)).mappings().one_or_none()

    def destinations_of(self, run: str) -> list[RowMapping]:
        """The rows of `destinations` of a run, in the order of the plan."""
        query = sa.select(destinations).where(destinations.c.run == run).order_by(destinations.c.position)
        with self.reading() as connection:
            return list(connection.execute(query).mappings())

    def set_status(self, run: str, status: str, finished: str | None = None, seconds: float = 0.0) -> None:
        """Set a run's status; `seconds` are added to those it took before."""
        change = sa.update(runs).where(runs.c.run == run)
        with self.writing() as connection:
            connection.execute(change.values(status=status, finished=finished, seconds=runs.c.seconds + seconds))

    def begin(self, run: str) -> None:
        """Note that the delivery of a run begins: one that is never heard of again was interrupted."""
        with self.writing():
            self.set_status(run, "interrupted")
            self.ended(run, None)

    def forget(self, run: str) -> None:
        """Remove a run of which nothing was sent, so that its files, ids and cursor, or the events that it would send
        again, are new again."""
        with self.writing() as connection:
            connection.execute(sa.update(refusals).where(refusals.c.retried == run).values(retried=None))
            for table in (ids, files, planned, refusals, chunks, destinations, cursors, endings, runs):
                connection.execute(sa.delete(table).where(table.c.run == run))

    # Chunks ---------------------------------------------------------------------------------------------------------

    def chunks_of(self, run: str, destination: str | None = None, statuses: Sequence[str] = ()) -> list[RowMapping]:
        """Chunks of a run in the order of the plan, of one destination or all, in the given statuses or all."""
        query = sa.select(chunks).where(chunks.c.run == run).order_by(chunks.c.destination, chunks.c.start)
        if destination is not None:
            query = query.where(chunks.c.destination == destination)
        if statuses:
            query = query.where(chunks.c.status.in_(statuses))
        with self.reading() as connection:
            return list(connection.execute(query).mappings())

    def pending_chunks(self, run: str, destination: str, statuses: Sequence[str]) -> Iterator[Pending]:
        """The chunks of a destination in the given statuses, in the order of the plan, a page at a time.

        Halves that are made meanwhile of a chunk that was given out are not given out.
        """
        here = sa.and_(chunks.c.run == run, chunks.c.destination == destination, chunks.c.status.in_(statuses))
        query = (
            sa.select(*(chunks.c[name] for name in Pending._fields)).where(here).order_by(chunks.c.start).limit(PAGE)
        )
        behind = 0
        while True:
            with self.reading() as connection:
                page = [Pending._make(row) for row in connection.execute(query.where(chunks.c.start >= behind))]
            yield from page
            if len(page) < PAGE:
                return
            behind = page[-1].start + page[-1].events

    def chunk_numbers(self, run: str, destination: str) -> Iterator[tuple[int, ...]]:
        """Part, number, start, events and refused events of each chunk of a destination, in the order of the plan."""
        c = chunks.c
        query = sa.select(c.part, c.number, c.start, c.events, c.refused).order_by(c.start)
        query = query.where(c.run == run, c.destination == destination).execution_options(yield_per=PAGE)
        with self.reading() as connection:
            yield from map(tuple, connection.execute(query))

    def ids_taken(self, run: str, destination: str) -> int:
        """How many ids the events of a run have taken for a destination."""
        query = sa.select(sa.func.count()).where(ids.c.run == run, ids.c.destination == destination)
        with self.reading() as connection:
            return int(connection.scalar(query) or 0)

    def pending_requests(self, run: str, destination: str) -> int:
        """Chunks of a destination that are still to be sent."""
        query = sa.select(sa.func.count()).where(
            chunks.c.run == run, chunks.c.destination == destination, chunks.c.status == "pending"
        )
        with self.reading() as connection:
            return int(connection.scalar(query) or 0)

    def part_starts(self, run: str, destination: str, statuses: Sequence[str] = ()) -> dict[int, int]:
        """Each part's number → the position of its first event in the destination's plan.

        `statuses`: only of parts with chunks in one of these.
        """
        query = sa.select(chunks.c.part, sa.func.min(chunks.c.start).label("start")).group_by(chunks.c.part)
        if statuses:
            query = query.having(sa.func.max(sa.case((chunks.c.status.in_(statuses), 1), else_=0)) == 1)
        with self.reading() as connection:
            found = connection.execute(query.where(chunks.c.run == run, chunks.c.destination == destination))
            return {row.part: row.start for row in found}

    def in_doubt(self) -> list[str]:
        """The runs with chunks in doubt, oldest first."""
        query = sa.select(chunks.c.run).where(chunks.c.status == "in_doubt").distinct().order_by(chunks.c.run)
        with self.reading() as connection:
            return list(connection.scalars(query))

    def doubt_what_was_in_flight(self, run: str) -> int:
        """Mark chunks left in `sending` by a delivery that ended as in doubt; their number. Needs the state's lock."""
        change = sa.update(chunks).where(chunks.c.run == run, chunks.c.status == "sending")
        words = "the loader ended before the answer was read and kept"
        with self.writing() as connection:
            return connection.execute(change.values(status="in_doubt", doubted=True, message=words)).rowcount

    def events_by_status(self, run: str) -> dict[str, dict[str, int]]:
        """Per destination: events in chunks of each status, `refused` ones, chunks, requests, tokens."""
        c = chunks.c
        left = sa.func.sum(c.events - c.refused)
        query = sa.select(
            c.destination,
            sa.func.sum(c.refused).label("refused"),
            sa.func.count().label("chunks"),
            sa.func.sum(c.attempts).label("requests"),
            sa.func.count(c.token).label("tokens"),
            *(left.filter(c.status == status).label(status) for status in STATUSES),
        )
        # Not by status, too: that would sort all chunks.
        query = query.where(c.run == run).group_by(c.destination)
        with self.reading() as connection:
            return {
                row["destination"]: {name: int(row[name] or 0) for name in row if name != "destination"}
                for row in connection.execute(query).mappings()
            }

    def refusals_of(self, run: str, destination: str | None = None) -> list[RowMapping]:
        """Events of a run that were rejected after the plan was made, by destination and row."""
        query = sa.select(refusals).where(refusals.c.run == run).order_by(refusals.c.destination, refusals.c.row)
        if destination is not None:
            query = query.where(refusals.c.destination == destination)
        with self.reading() as connection:
            return list(connection.execute(query).mappings())

    def reasons_of(self, run: str) -> dict[tuple[str, str], int]:
        """Rejections of a run, of the plan and after: (destination or '' for rows, reason) → count."""
        after = sa.select(refusals.c.destination, refusals.c.reason, sa.func.count())
        after = after.where(refusals.c.run == run).group_by(refusals.c.destination, refusals.c.reason)
        before = sa.select(planned.c.destination, planned.c.reason, planned.c.count).where(planned.c.run == run)
        found: dict[tuple[str, str], int] = {}
        with self.reading() as connection:
            for destination, reason, count in [*connection.execute(before), *connection.execute(after)]:
                found[destination, reason] = found.get((destination, reason), 0) + count
        return found

    def doubts_of(self, run: str) -> dict[tuple[str, str], int]:
        """Events of a run that are in doubt: (destination, why) → count, the most first."""
        count = sa.func.sum(chunks.c.events - chunks.c.refused)
        query = sa.select(chunks.c.destination, chunks.c.message, count).where(chunks.c.run == run)
        query = query.where(chunks.c.status == "in_doubt").group_by(chunks.c.destination, chunks.c.message)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(count.desc(), chunks.c.destination, chunks.c.message))
            return {(destination, message or ""): events for destination, message, events in rows}

    # Files and ids --------------------------------------------------------------------------------------------------

    def plan_digests(self) -> list[tuple[str, dict[str, str]]]:
        """Runs of a query without ids and cursor, newest first: run and digest of the events per destination."""
        query = sa.select(runs.c.run, runs.c.plan_digest).where(runs.c.plan_digest.is_not(None))
        with self.reading() as connection:
            return [
                (run, json.loads(digests)) for run, digests in connection.execute(query.order_by(runs.c.run.desc()))
            ]

    def untouched(self, run: str) -> bool:
        """Whether no request was ever made for a run."""
        query = sa.select(sa.func.sum(chunks.c.attempts)).where(chunks.c.run == run)
        with self.reading() as connection:
            return not connection.scalar(query)

    def pending(self, run: str, destination: str) -> int:
        """Events of a run that are still to be sent to a destination, those in doubt included."""
        query = sa.select(sa.func.sum(chunks.c.events - chunks.c.refused)).where(
            chunks.c.run == run, chunks.c.destination == destination, chunks.c.status.in_(("pending", "in_doubt"))
        )
        with self.reading() as connection:
            return int(connection.scalar(query) or 0)

    def files_by(self, column: str, value: str) -> list[RowMapping]:
        """Loaded files whose `path` or `digest` is `value`, by run, the oldest first."""
        query = sa.select(files).where(files.c[column] == value).order_by(files.c.run)
        with self.reading() as connection:
            return list(connection.execute(query).mappings())

    def knows_files(self) -> bool:
        """Whether any file was ever loaded."""
        with self.reading() as connection:
            return connection.execute(sa.select(files.c.run).limit(1)).first() is not None

    def origin(self, run: str) -> str:
        """The run that read the rows of `run` from the source: itself, or the one whose events it sends again."""
        with self.reading() as connection:
            return connection.scalar(sa.select(sa.func.coalesce(runs.c.of, runs.c.run)).where(runs.c.run == run)) or run

    def to_retry(
        self, reasons: Sequence[str], run: str | None, *, written: bool | None
    ) -> list[tuple[RowMapping, RowMapping, int]]:
        """The runs (or the one) and destinations with events that were rejected for `reasons` after they were planned,
        and not sent again since, the oldest first: rows of `runs` and of `destinations`, and how many events.

        `written`: those whose rows were written to a file, or the others; None: both.
        """
        count = sa.func.count().label("events")
        query = sa.select(refusals.c.run, refusals.c.destination, count).where(left_to_retry(reasons, written=written))
        with self.reading() as connection:
            found = connection.execute(query.group_by(refusals.c.run, refusals.c.destination))
            counts = {(row.run, row.destination): row.events for row in found}
        return [
            (earlier, planned, counts[earlier["run"], planned["destination"]])
            for earlier in self.all_runs()
            for planned in self.destinations_of(earlier["run"])
            if run in (None, earlier["run"]) and (earlier["run"], planned["destination"]) in counts
        ]

    def retried_of(self, run: str) -> dict[tuple[str, str], int]:
        """Events of a run that were rejected and planned again since: (destination, reason) → count."""
        query = sa.select(refusals.c.destination, refusals.c.reason, sa.func.count())
        query = query.where(refusals.c.run == run, refusals.c.retried.is_not(None))
        with self.reading() as connection:
            rows = connection.execute(query.group_by(refusals.c.destination, refusals.c.reason))
            return {(destination, reason): count for destination, reason, count in rows}

    def mark_written(self, run: str, reason: str | None, file: str, but: Sequence[int]) -> None:
        """Note that the rows of a run's rejected events (of one reason, or all) stand in `file`, unless they stand in
        another, and `but` for these rows."""
        here = sa.and_(refusals.c.run == run, refusals.c.retried.is_(None))
        change = sa.update(refusals).where(here, refusals.c.written.is_(None)).values(written=file)
        if reason is not None:
            change = change.where(refusals.c.reason == reason)
        undo = sa.update(refusals).where(here, refusals.c.written == file, refusals.c.row == sa.bindparam("lost"))
        with self.writing() as connection:
            connection.execute(change)
            if but:
                connection.execute(undo.values(written=None), [{"lost": row} for row in but])

    def written_to(self, file: str) -> set[tuple[str, str]]:
        """Run and reason of the rejected events whose rows stand in `file`, to be loaded from there."""
        query = sa.select(refusals.c.run, refusals.c.reason).where(refusals.c.written == file).distinct()
        with self.reading() as connection:
            return {(row.run, row.reason) for row in connection.execute(query.where(refusals.c.retried.is_(None)))}

    def files_of(self, run: str) -> list[RowMapping]:
        """The files that a run loaded, in the order of their rows."""
        with self.reading() as connection:
            return list(
                connection.execute(sa.select(files).where(files.c.run == run).order_by(files.c.first_row)).mappings()
            )


def left_to_retry(reasons: Sequence[str], *, written: bool | None) -> sa.ColumnElement[bool]:
    """The refusals that can be sent again; see `Checkpoint.to_retry`. What may have arrived is not among them."""
    never_arrived = sa.func.coalesce(refusals.c.message, "").not_like(f"{DOUBTED}%")
    left = sa.and_(refusals.c.reason.in_(reasons), refusals.c.retried.is_(None), never_arrived)
    return left if written is None else sa.and_(left, refusals.c.written.is_not(None) == written)
