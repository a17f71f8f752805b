"""What sending writes into the checkpoint: changes as statements, and the journal that makes them durable in groups."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection, RowMapping

from loader.checkpoint import Checkpoint, chunks, ids, planned, refusals, translated

# SQL for the driver, which runs it in a third of the time that a statement of SQLAlchemy takes.
Change = tuple[str, Any]
_Entry = tuple[list[Change], asyncio.Future[None]]

_dialect = sqlite.dialect(paramstyle="named")


def _sql(statement: sa.UpdateBase) -> str:
    return str(statement.compile(dialect=_dialect))


_this_chunk = sa.and_(
    chunks.c.run == sa.bindparam("b_run"),
    chunks.c.destination == sa.bindparam("b_destination"),
    chunks.c.start == sa.bindparam("b_start"),
)
# Many chunks travel as one JSON text, in one statement: after each step of a statement the thread that writes has to
# wait until the other, which is busy with answers, lets it go on. A chunk is always there: what is inserted is a
# conflict with it.
_set = """
INSERT INTO chunks (run, destination, start, status, attempts, refused, token, message, doubted, changed)
{values}
ON CONFLICT (run, destination, start) DO UPDATE SET
    status = excluded.status, attempts = excluded.attempts, refused = excluded.refused, token = excluded.token,
    message = excluded.message, doubted = chunks.doubted OR excluded.doubted, changed = excluded.changed
"""
_set_chunks = _set.format(
    values="""SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'), json_extract(value, '$[6]'),
    json_extract(value, '$[7]'), json_extract(value, '$[8]'), :changed
FROM json_each(:chunks) WHERE true"""
)
# SQLite ends a text of JSON at its first NUL.
_set_each = _set.format(values="VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
_resize_chunk = _sql(
    sa.update(chunks)
    .where(_this_chunk)
    .values(events=sa.bindparam("b_events"), first_row=sa.bindparam("b_first_row"), last_row=sa.bindparam("b_last_row"))
)
_insert_chunk = _sql(sa.insert(chunks))
_insert_refusal = _sql(sa.insert(refusals))
_free_id = _sql(
    sa.delete(ids).where(
        ids.c.run == sa.bindparam("b_run"),
        ids.c.destination == sa.bindparam("b_destination"),
        ids.c.row == sa.bindparam("b_row"),
    )
)


def set_chunk(
    run: str, destination: str, start: int, status: str, *, attempts: int, refused: int = 0,
    token: str | None = None, message: str | None = None, doubted: bool = False,
) -> Change:  # fmt: skip
    """A chunk's new status. `doubted`: it is in doubt, or was; once that is written, it stays."""
    return _set_chunks, (run, destination, start, status, attempts, refused, token, message, doubted)


def split_chunk(chunk: dict[str, Any], left: tuple[int, int, int], right: dict[str, Any]) -> list[Change]:
    """Cut `chunk` after `left` (events, lowest and highest row); `right` are the columns of the new chunk."""
    key = {"b_run": chunk["run"], "b_destination": chunk["destination"], "b_start": chunk["start"]}
    size = {"b_events": left[0], "b_first_row": left[1], "b_last_row": left[2]}
    return [(_resize_chunk, {**key, **size}), (_insert_chunk, right)]


def refuse(run: str, destination: str, rows: dict[int, str], reason: str, *, free_ids: bool = True) -> list[Change]:
    """Reject events after the plan was made: row → message. `free_ids`: their ids may be delivered later."""
    if not rows:
        return []
    common = {"run": run, "destination": destination, "reason": reason, "retried": None, "written": None}
    values = [{**common, "row": row, "message": message} for row, message in rows.items()]
    changes: list[Change] = [(_insert_refusal, values)]
    if free_ids:
        changes.append((_free_id, [{"b_run": run, "b_destination": destination, "b_row": row} for row in rows]))
    return changes


def count_rejected(connection: Connection, chunk: RowMapping, reason: str, *, free_ids: bool) -> None:
    """Reject the events left in `chunk` by their number, where their part is lost and cannot tell their rows.

    Ids are freed by the span of the chunk's rows; where other events in it have left, all ids stay taken.
    """
    name = {"run": chunk["run"], "destination": chunk["destination"], "reason": reason}
    left = chunk["events"] - chunk["refused"]
    same = sa.and_(*(planned.c[key] == value for key, value in name.items()))
    if not connection.execute(sa.update(planned).where(same).values(count=planned.c.count + left)).rowcount:
        connection.execute(sa.insert(planned).values(**name, count=left))
    first, last = chunk["first_row"], chunk["last_row"]
    others = sa.select(chunks.c.start).where(
        chunks.c.run == chunk["run"],
        chunks.c.destination == chunk["destination"],
        chunks.c.first_row <= last,
        chunks.c.last_row >= first,
        sa.or_(chunks.c.status.in_(("sent", "in_doubt", "sending")), chunks.c.doubted),
    )
    if free_ids and connection.execute(others.limit(1)).first() is None:
        here = sa.and_(ids.c.run == chunk["run"], ids.c.destination == chunk["destination"])
        connection.execute(sa.delete(ids).where(here, ids.c.row.between(first, last)))


class Journal:
    """Writes changes durably, in order, in as few transactions as the moment allows.

    What `write` gives is done when its changes are synced to disk. They are synced in a thread of their own, while the
    event loop goes on; what is written meanwhile shares the next transaction.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._path = checkpoint.path
        # The driver's own: through SQLAlchemy a transaction takes twice the time, which sending has to wait for.
        self._pooled = checkpoint.engine.raw_connection()
        connection: Any = self._pooled.driver_connection
        # A transaction is begun where one is needed: a single statement is one by itself.
        self._begins, connection.isolation_level = connection.isolation_level, None
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        # Not an executor of the loop: its futures take as long as a small transaction.
        self._given: SimpleQueue[list[_Entry]] = SimpleQueue()
        self._collected: list[_Entry] = []
        # Where nobody comes to close it, such as after a signal between two steps, the process ends all the same.
        self._thread = Thread(target=self._work, name="checkpoint", daemon=True)
        self._thread.start()

    def write(self, changes: list[Change]) -> asyncio.Future[None]:
        """Make `changes` durable: when the result is there, they are. It raises StateError; then nothing of this call
        is written."""
        future: asyncio.Future[None] = self._loop.create_future()
        if not self._collected:
            # Not at once: what else is ready to be written at this moment shares the transaction.
            self._loop.call_soon(self._give)
        self._collected.append((changes, future))
        return future

    def close(self) -> None:
        """Write what waits, and give back the connection."""
        self._give()
        self._given.put([])
        self._thread.join()
        self._connection.isolation_level = self._begins
        self._pooled.close()

    def _give(self) -> None:
        entries, self._collected = self._collected, []
        # There are none where the journal was closed meanwhile.
        if entries:
            self._given.put(entries)

    def _work(self) -> None:
        while entries := self._given.get():
            with contextlib.suppress(Empty):
                # What came while the last transaction was synced shares this one.
                while more := self._given.get_nowait():
                    entries += more
                self._given.put([])
            self._loop.call_soon_threadsafe(_settle, entries, self._commit(entries))

    def _commit(self, entries: list[_Entry]) -> Exception | None:
        """Write the changes of `entries`, all or none; what went wrong."""
        try:
            with translated(self._path, "written"), self._connection as connection:
                statements = _statements([change for changes, _ in entries for change in changes])
                if len(statements) != 1 or isinstance(statements[0][1], list):
                    connection.execute("BEGIN")
                _execute(connection, statements)
        except Exception as error:  # noqa: BLE001 - raised where the changes are awaited
            return error
        return None


def write(connection: Connection, changes: Sequence[Change]) -> None:
    """Write `changes` in a transaction of SQLAlchemy's, in their order, but the new status of chunks last."""
    _execute(connection.connection.driver_connection, _statements(changes))


def _statements(changes: Sequence[Change]) -> list[Change]:
    """`changes` as the driver takes them: a list of values is for many executions. Each new status goes in one."""
    statements = [change for change in changes if change[0] is not _set_chunks]
    statuses = [values for sql, values in changes if sql is _set_chunks]
    if not statuses:
        return statements
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    text = orjson.dumps(statuses).decode()
    if "\\u0000" in text:
        return [*statements, (_set_each, [(*values, now) for values in statuses])]
    return [*statements, (_set_chunks, {"chunks": text, "changed": now})]


def _execute(connection: Any, statements: Sequence[Change]) -> None:
    for sql, values in statements:
        (connection.executemany if isinstance(values, list) else connection.execute)(sql, values)


def _settle(entries: list[_Entry], failure: Exception | None) -> None:
    for _, future in entries:
        if future.done():
            continue
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(failure)
