"""A plan as a whole: the rows counted, each destination staged, everything committed at once or not at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from loader import checkpoint as record
from loader import jsontext
from loader.errors import LateEventsError
from loader.plan.background import Background
from loader.plan.parts import RejectionWriter
from loader.plan.rows import RowWriter
from loader.plan.staging import Staged, Stager, commit_chunks
from loader.providers.base import DestinationSettings, Provider, Route, Window
from loader.rejection import ROW


class Mapped(Protocol):
    """What a frame of rows became for one destination: `events`, and `rejected` (`rejection.SCHEMA`)."""

    @property
    def events(self) -> pl.DataFrame: ...

    @property
    def rejected(self) -> pl.DataFrame: ...


class Destination(Protocol):
    """A destination of the mapping."""

    @property
    def name(self) -> str: ...

    @property
    def provider(self) -> Provider: ...

    @property
    def route(self) -> Route: ...

    @property
    def settings(self) -> DestinationSettings: ...


class Planned(Protocol):
    """A destination to plan for. `columns`: those of its events, as `loader.mapping` describes them."""

    @property
    def destination(self) -> Destination: ...

    @property
    def columns(self) -> Mapping[str, pl.DataType]: ...


class File(Protocol):
    """A file of the source, with its fingerprint."""

    @property
    def path(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def mtime_ns(self) -> int: ...

    @property
    def inode(self) -> int: ...

    def digest(self) -> str: ...


class Read(Protocol):
    """A frame of a source."""

    @property
    def rows(self) -> pl.DataFrame: ...

    @property
    def rejected(self) -> pl.DataFrame: ...

    @property
    def records(self) -> pl.DataFrame: ...

    @property
    def filtered(self) -> int: ...

    @property
    def input(self) -> File | None: ...


class Kept(Protocol):
    """A frame after `where:`."""

    @property
    def filtered(self) -> int: ...

    @property
    def rejected(self) -> pl.DataFrame: ...


class Planner:
    """Makes one plan. `add` every frame in order, then `finish`, then `commit`; without `commit` nothing is kept.

    Files are written in the background; as a context manager it leaves none behind that is still being written.
    """

    def __init__(
        self,
        run: str,
        run_folder: Path,
        destinations: Sequence[Planned],
        connection: Connection,
        *,
        again: bool,
        digest: bool,
        keep_rows: bool,
    ) -> None:
        """`connection`: a transaction of the checkpoint, open until the plan is committed. `digest`: see `Staged`.
        `keep_rows`: write down the rows that become events, see `rows`."""
        self.run, self._connection, self._again, self._digest = run, connection, again, digest
        self._destinations = [planned.destination for planned in destinations]
        self._columns = [planned.columns for planned in destinations]
        now = datetime.now(UTC)
        self._background = Background()
        self._stagers = [
            Stager(
                planned.destination.name,
                planned.destination.route,
                planned.destination.settings,
                planned.destination.route.encode(planned.columns),
                run_folder,
                run,
                Ids(connection, run, planned.destination.name, again) if "id" in planned.columns else None,
                now,
                self._background,
                digest=digest,
            )
            for planned in destinations
        ]
        self._rejections = RejectionWriter(run_folder, self._background)
        self._rows = RowWriter(run_folder, self._background) if keep_rows else None
        self._rows_of: dict[str, tuple[int, int]] = {}
        self.read = self.filtered = self.events = 0
        self._rows_rejected: Counter[str] = Counter()

    def __enter__(self) -> Planner:
        return self

    def __exit__(self, *_: object) -> None:
        self._background.abandon()

    @property
    def rejected(self) -> int:
        """Rows and events rejected so far."""
        return self.reasons().total()

    def rows_of(self, file: File) -> int:
        """The rows read from a file so far."""
        return self._rows_of.get(file.path, (0, 0))[1]

    def reasons(self) -> Counter[str]:
        """Rejections so far by reason, of rows and of all destinations."""
        return sum((stager.staged.rejected for stager in self._stagers), self._rows_rejected)

    def count(self, frame: Read, kept: Kept) -> None:
        """Count the rows of a frame, and reject those that could not be read or filtered."""
        read = len(frame.rows) + len(frame.rejected) + frame.filtered
        if frame.input is not None:
            first, rows = self._rows_of.get(frame.input.path, (self.read + 1, 0))
            self._rows_of[frame.input.path] = (first, rows + read)
        self.read += read
        self.filtered += frame.filtered + kept.filtered
        self._reject_rows(frame.rejected, frame.records)
        if len(kept.rejected):
            failed = kept.rejected.get_column("row").implode()
            self._reject_rows(kept.rejected, record_of(frame.rows.filter(pl.col(ROW).is_in(failed))))

    def add(self, rows: pl.DataFrame, mapped: Sequence[Mapped], delivered: set[str]) -> None:
        """Stage what a frame of `rows` became, in the order of the destinations.

        Those in `delivered` got these rows before. A row that made an event for no destination is a rejected row; one
        that only some destinations could not take is an event that those reject.
        """
        lost = mapped[0].rejected.get_column("row")
        for other in mapped[1:]:
            lost = lost.filter(lost.is_in(other.rejected.get_column("row").implode()))
        survivors = rows
        if len(lost):
            in_lost = pl.col(ROW).is_in(lost.implode())
            self._reject_rows(
                mapped[0].rejected.filter(pl.col("row").is_in(lost.implode())), record_of(rows.filter(in_lost))
            )
            survivors = rows.filter(~in_lost)
        self.events += len(survivors)
        if self._rows is not None:
            self._rows.add(survivors)
        for stager, destination, result in zip(self._stagers, self._destinations, mapped, strict=True):
            if destination.name in delivered:
                stager.skip(len(survivors))
                continue
            unmapped = result.rejected
            if len(lost):
                unmapped = unmapped.filter(~pl.col("row").is_in(lost.implode()))
            stager.refuse(unmapped)
            refused = pl.concat([unmapped, stager.add(result.events)])
            if len(refused):
                concerned = rows.filter(pl.col(ROW).is_in(refused.get_column("row").implode()))
                self._rejections.add(refused, record_of(concerned), destination.name)

    def _reject_rows(self, rejected: pl.DataFrame, records: pl.DataFrame) -> None:
        if len(rejected):
            for reason, count in rejected.group_by("reason", maintain_order=True).len().iter_rows():
                self._rows_rejected[reason] += count
            self._rejections.add(rejected, records, None)

    def finish(self) -> None:
        """Close the last chunks, parts and rejections: the plan is complete on disk."""
        for stager in self._stagers:
            stager.finish()
        self._rejections.close()
        if self._rows is not None:
            self._rows.close()
        self._background.finish()

    def refuse_late_events(self) -> None:
        """Raises LateEventsError where events lie outside a provider's window and nothing was decided about them."""
        late = [
            (destination, stager.staged, window)
            for stager, destination in zip(self._stagers, self._destinations, strict=True)
            if stager.staged.late and (window := destination.route.window) is not None
        ]
        if late:
            raise LateEventsError(_late_words(late))

    @property
    def digests(self) -> dict[str, str] | None:
        """Each destination's digest of its events, or None where they were not asked for."""
        if not self._digest:
            return None
        pairs = zip(self._destinations, self._stagers, strict=True)
        return {destination.name: stager.staged.digest for destination, stager in pairs}

    def commit(self, *, mapping: str, mapping_digest: str, inputs: Sequence[File], seconds: float) -> bool:
        """Write the plan into the open transaction; it counts when that is committed. Whether the cursor may move.

        A plan without a single event loads no file and moves no cursor: whoever mends the mapping finds all rows again.
        """
        barren = self.events == 0 and self._rows_rejected.total() > 0
        execute = self._connection.execute
        execute(
            sa.insert(record.runs).values(
                run=self.run,
                mapping=mapping,
                mapping_digest=mapping_digest,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                status="paused",
                rows_read=self.read,
                rows_filtered=self.filtered,
                rows_rejected=self._rows_rejected.total(),
                events=self.events,
                plan_digest=None if barren or self.digests is None else json.dumps(self.digests),
                seconds=seconds,
                again=self._again,
            )
        )
        counts = [("", reason, count) for reason, count in self._rows_rejected.items()]
        for at, destination in enumerate(self._destinations):
            staged = self._stagers[at].staged
            counts += [(destination.name, reason, count) for reason, count in staged.rejected.items()]
            execute(sa.insert(record.destinations).values(**self._destination_row(at)))
            commit_chunks(self._connection, self.run, destination.name, staged.chunks)
            for file in [] if barren else inputs:
                first, read = self._rows_of.get(file.path, (self.read + 1, 0))
                execute(
                    sa.insert(record.files).values(
                        destination=destination.name,
                        digest=file.digest(),
                        path=file.path,
                        size=file.size,
                        mtime_ns=file.mtime_ns,
                        inode=file.inode,
                        run=self.run,
                        first_row=first,
                        rows=read,
                    )
                )
        if counts:
            named = [dict(zip(("destination", "reason", "count"), count, strict=True)) for count in counts]
            execute(sa.insert(record.planned), [{"run": self.run, **count} for count in named])
        return not barren

    def _destination_row(self, at: int) -> dict[str, Any]:
        destination, staged = self._destinations[at], self._stagers[at].staged
        return {
            "run": self.run,
            "destination": destination.name,
            "provider": destination.provider.name,
            "route": destination.route.name,
            "in_doubt": destination.settings.in_doubt or destination.route.in_doubt(self._columns[at]),
            "position": at,
            "events": staged.events,
            "already_delivered": staged.already_delivered,
            "rejected": staged.rejected.total(),
            "bytes": staged.bytes,
        }


def _late_words(late: Sequence[tuple[Destination, Staged, Window]]) -> str:
    found = []
    for destination, staged, window in late:
        title, of = destination.provider.title, f"{staged.late:,} of {staged.events:,} events"
        if window.past is None:
            what = f"{of} have a time, and {title} has no field for it: to it an event happens when it arrives"
        else:
            hours = f"{window.past / 3600:g} hours"
            what = f"{of} are not within the last {hours}, the only times that {title} accepts"
        found.append(f"{destination.name}: {what} ({window.page})")
    able = [destination.name for destination, _, window in late if window.past is not None]
    choices = [
        "  reject     leave them out, as rejections",
        "  omit_time  send them without their time: the provider takes them as happening now",
    ]
    if able:
        only = "" if len(able) == len(late) else f"{', '.join(able)} alone: "
        choices.append(f"  send       {only}send them as they are, for a provider account that accepts them")
    whose = "the destination" if len(late) == 1 else "each destination"
    return "\n".join([*found, f"Nothing was sent. Choose with `late_events:` of {whose}:", *choices])


def record_of(rows: pl.DataFrame) -> pl.DataFrame:
    """`row` and `record`, the JSON object of each row of a source's frame; types that JSON lacks are named as text."""
    members = []
    for name, dtype in rows.schema.items():
        if name == ROW:
            continue
        try:
            members.append((name, jsontext.value(pl.col(name), dtype)))
        except TypeError:
            members.append((name, jsontext.text(pl.lit(f"<{dtype}>"))))
    return rows.select(row=pl.col(ROW), record=jsontext.obj(members))


class Ids:
    """`staging.Ids` over the checkpoint's table. Ids travel as one JSON text per frame, not one by one."""

    def __init__(self, connection: Connection, run: str, destination: str, again: bool) -> None:
        self._connection, self._run, self._destination, self._again = connection, run, destination, again

    def known(self, ids: pl.Series) -> pl.Series:
        # CROSS JOIN makes SQLite look each id up, instead of reading all ids for each.
        query = (
            "SELECT j.key, i.run FROM json_each(:ids) AS j CROSS JOIN ids AS i"
            " WHERE i.destination = :destination AND i.id = j.value"
        )
        if self._again:
            query += " AND i.run = :run"
        values = {"ids": _array(jsontext.text(pl.lit(ids))), "destination": self._destination, "run": self._run}
        if not self._again:
            del values["run"]
        runs: list[str | None] = [None] * len(ids)
        for position, run in self._connection.execute(sa.text(query), values):
            runs[position] = run
        return pl.Series("run", runs, dtype=pl.String)

    def take(self, ids: pl.Series, rows: pl.Series) -> None:
        pairs = pl.concat_str(
            pl.lit("["), jsontext.text(pl.lit(ids)), pl.lit(","), pl.lit(rows).cast(pl.String), pl.lit("]")
        )
        self._connection.execute(
            sa.text(
                "INSERT INTO ids (destination, id, run, row)"
                " SELECT :destination, json_extract(value, '$[0]'), :run,"
                " json_extract(value, '$[1]') FROM json_each(:pairs)"
            ),
            {"destination": self._destination, "run": self._run, "pairs": _array(pairs.drop_nulls())},
        )


def _array(texts: pl.Expr) -> str:
    joined = pl.select(texts.fill_null("null").str.join(",")).item()
    return f"[{joined or ''}]"
