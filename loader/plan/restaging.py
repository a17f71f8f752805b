"""Events of an earlier run that the provider refused, planned once more: the bytes that were planned then.

A run of its own holds them, for one earlier run and one destination. So their rows keep their numbers, and the books of
the earlier run stay as they are: there the events are rejected for good.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from loader import checkpoint as record
from loader.checkpoint import Row
from loader.plan.background import Background
from loader.plan.planner import Destination, Ids
from loader.plan.staging import Stager, commit_chunks

OpenPart = Callable[[str, int], pl.DataFrame]


def restage(
    run: str,
    earlier: Row,
    planned: Row,
    destination: Destination,
    wanted: sa.ColumnElement[bool],
    open_part: OpenPart,
    run_folder: Path,
    connection: Connection,
    siblings: Collection[str] = (),
) -> bool:
    """Plan the run `run`: the events of `earlier` that were rejected after they were planned, as far as `wanted`, a
    condition on `checkpoint.refusals`, says so.

    `planned`: the destination as it was planned then (rows of the checkpoint). `open_part`: of the earlier run.
    `siblings`: runs that are planned together with this one. An event whose id one of them has is left for later: it
    is newer there, and may still be refused. `connection`: a transaction of the checkpoint; the plan counts when that
    is committed. False: no event is left, and there is no run. Raises StateError.
    """
    name = destination.name
    refusals = record.refusals.c
    chosen = sa.and_(refusals.run == earlier["run"], refusals.destination == name, wanted)
    rows = pl.Series(connection.scalars(sa.select(refusals.row).where(chosen)).all(), dtype=pl.UInt64)
    parts = sa.select(record.chunks.c.part).distinct().order_by(record.chunks.c.part)
    of_parts = sa.and_(record.chunks.c.run == earlier["run"], record.chunks.c.destination == name)
    background = Background()
    ids = Ids(connection, run, name, again=False)
    later: list[int] = []
    stager = Stager(
        name,
        destination.route,
        destination.settings,
        None,
        run_folder,
        run,
        ids,
        datetime.now(UTC),
        background,
    )
    try:
        for part in connection.scalars(parts.where(of_parts, record.chunks.c.refused > 0)).all():
            events = open_part(name, part)
            events = events.filter(pl.col("row").is_in(rows.implode())).drop("chunk")
            newer = ids.known(events.get_column("id")).is_in(list(siblings)).fill_null(False)
            later += events.filter(newer).get_column("row").to_list()
            stager.add_encoded(events.filter(~newer))
        stager.finish()
        background.finish()
    finally:
        background.abandon()
    staged = stager.staged
    if staged.events == 0:
        return False
    connection.execute(
        sa.insert(record.runs).values(
            run=run,
            of=earlier["of"] or earlier["run"],
            mapping=earlier["mapping"],
            mapping_digest=earlier["mapping_digest"],
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            status="paused",
            rows_read=staged.events,
            rows_filtered=0,
            rows_rejected=0,
            events=staged.events,
            seconds=0.0,
            again=False,
        )
    )
    connection.execute(
        sa.insert(record.destinations).values(
            run=run,
            destination=name,
            provider=planned["provider"],
            route=planned["route"],
            in_doubt=planned["in_doubt"],
            position=0,
            events=staged.events,
            already_delivered=staged.already_delivered,
            rejected=0,
            bytes=staged.bytes,
        )
    )
    commit_chunks(connection, run, name, staged.chunks)
    connection.execute(sa.update(record.refusals).where(chosen).values(retried=run))
    if later:
        undo = sa.update(record.refusals).where(refusals.run == earlier["run"], refusals.destination == name)
        undo = undo.where(refusals.row == sa.bindparam("later")).values(retried=None)
        connection.execute(undo, [{"later": row} for row in later])
    return True
