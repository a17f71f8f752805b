"""One destination's delivery: intent, request, answer, receipt, for each chunk, several at once.

    chunk ─► its turn (rate, pause) ─► intent durable ─► request ─► answer ─► receipt durable
                ▲                                            │
                ├── not taken: pending again, pause ◄────────┤
                ├── refused without names: halve ◄───────────┤
                └── in doubt: hold, resend or skip ◄─────────┘

Whatever happens between two steps, the checkpoint holds a state from which the next process goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, Protocol

import polars as pl

from loader.checkpoint import DOUBTED, Pending
from loader.errors import LoaderError, Refused, StateError, Unreachable
from loader.providers.base import DestinationSettings, InDoubt, Outcome, Provider, Receipt, Route
from loader.sending.client import Client, NoAnswer, NothingSent
from loader.sending.journal import Change, Journal, refuse, set_chunk, split_chunk
from loader.sending.pacing import MOST_IN_DOUBT, Halted, Pacer
from loader.sending.piece import Piece
from loader.sending.queue import Parts, Queue
from loader.sending.secrets import sent_forms, without

_logger = logging.getLogger(__name__)

# Chunks that are loaded at once.
LOADED = 16


class Progress(Protocol):
    """Somebody who watches a delivery."""

    def advance(self, destination: str, *, sent: int = 0, rejected: int = 0, in_doubt: int = 0) -> None:
        """So many events are settled."""

    def retrying(self, destination: str, seconds: float, message: str, chunk: int) -> None:
        """The destination pauses for `seconds` because of what became of a chunk (its number): `message`."""

    def found_rate(self, destination: str, rate: float) -> None:
        """The provider, which publishes no rate, took `rate` requests a second before it refused more."""


@dataclass(frozen=True)
class Target:
    """A destination of a run: where its events go and what to do when no answer comes."""

    run: str
    name: str
    provider: Provider
    route: Route
    settings: DestinationSettings
    in_doubt: InDoubt

    @property
    def concurrency(self) -> int:
        """Requests under way at once."""
        return self.settings.concurrency or self.route.concurrency


class Delivery:
    """Sends the chunks of one destination. `deliver` returns when all are settled or nothing more may be sent."""

    def __init__(
        self,
        target: Target,
        journal: Journal,
        client: Client,
        open_part: Callable[[int], pl.DataFrame],
        part_starts: dict[int, int],
        progress: Progress,
        on_rejected: Callable[[int], None],
    ) -> None:
        """`open_part`, `part_starts`: see `Parts`.
        `on_rejected` is told how many events were rejected, and may raise TooManyRejections."""
        self._target, self._journal, self._client = target, journal, client
        self._open_part, self._part_starts = open_part, part_starts
        self._progress, self._on_rejected = progress, on_rejected
        values = [getattr(target.settings, name) for name in target.provider.secrets]
        self._secrets = [value.get_secret_value() for value in values if value is not None]
        self._hidden: tuple[Mapping[str, str], tuple[str, ...]] | None = None
        self._debugged = _logger.isEnabledFor(logging.DEBUG)
        self._pacer = Pacer(target.settings.rate or target.route.rate)
        self._parts = Parts(part_starts, open_part, target.route.envelope)
        self._queue = Queue(self._load, target.concurrency, ordered=target.route.ordered)
        self._pieces: AsyncIterator[list[Piece]]
        self._doubts = 0
        self._ending: BaseException | None = None

    def halt(self) -> None:
        """Send nothing more; what is under way is finished."""
        self._pacer.halt.set()
        self._queue.close()

    async def deliver(self, chunks: Iterable[Pending], refused_rows: set[int], stop_after: int | None = None) -> None:
        """Send `chunks`, in the order of the plan, without the events of `refused_rows`.

        `stop_after`: send only so many events. Raises Unreachable, Refused, TooManyRejections or StateError once what
        was under way is finished.
        """
        self._pieces = self._loaded(chunks, refused_rows, stop_after)
        lanes = [asyncio.create_task(self._lane()) for _ in range(self._target.concurrency)]
        try:
            await asyncio.gather(*lanes)
        except BaseException:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)
            raise
        finally:
            self._parts.close()
        with contextlib.suppress(StateError):
            # What could not be written has said so.
            await self._journal.write([])
        if self._pacer.found is not None:
            self._progress.found_rate(self._target.name, self._pacer.found)
        if self._ending is not None:
            raise self._ending

    async def _load(self) -> list[Piece]:
        return await anext(self._pieces, [])

    async def _loaded(
        self, chunks: Iterable[Pending], refused_rows: set[int], left: int | None
    ) -> AsyncIterator[list[Piece]]:
        """The chunks, or what of them may be sent, a few at a time: `left` events, or all (None)."""
        if left == 0:
            return
        for number, of_part in groupby(chunks, key=attrgetter("part")):
            part = await self._parts.part(number)
            while some := list(islice(of_part, LOADED)):
                pieces = part.pieces(some, refused_rows)
                if left is not None:
                    pieces, left = await self._first(pieces, left)
                yield pieces
                if left == 0:
                    # What follows is not sent now: that it may be lost or damaged troubles nobody.
                    return

    async def _first(self, pieces: list[Piece], most: int) -> tuple[list[Piece], int]:
        """What holds the first events of `pieces`, at most so many; how many more may follow."""
        kept = []
        for piece in pieces:
            if not most:
                break
            first = piece if len(piece.rows) <= most else (await self._split(piece, most))[0]
            most -= len(first.rows)
            kept.append(first)
        return kept, most

    async def _lane(self) -> None:
        """Send one piece after the other."""
        try:
            while (piece := await self._queue.next()) is not None:
                try:
                    await self._send(piece)
                finally:
                    self._queue.free(piece)
        except Halted:
            pass
        except LoaderError as error:
            self._end(error)
        except BaseException as error:
            self._end(error)
            raise

    def _end(self, error: BaseException) -> None:
        self._ending = self._ending or error
        self.halt()

    async def _send(self, piece: Piece) -> None:
        """Send a piece until it is settled. Raises Halted with the piece pending, or what ends the destination."""
        while True:
            await self._pacer.turn()
            changes = self._drop_too_old(piece)
            if not piece.rows:
                await self._journal.write([*changes, self._status(piece, "rejected")])
                return
            piece.attempts += 1
            await self._journal.write([*changes, self._status(piece, "sending")])
            if self._pacer.paused:
                # Another request was told to wait while this one's intent was synced.
                piece.attempts -= 1
                await self._journal.write([self._status(piece, "pending")])
                continue
            receipt = await self._exchange(piece)
            if receipt.outcome is Outcome.TAKEN:
                # The order of a user's events is that of the answers; the next chunk need not wait for the receipt.
                self._queue.free(piece)
                self._pacer.taken()
                self._doubts = 0
                self._record(piece, receipt)
                return
            if receipt.outcome is Outcome.REFUSED:
                self._pacer.taken()
                if len(piece.rows) == 1:
                    await self._refused(piece, receipt)
                    return
                for half in await self._split(piece, (len(piece.rows) + 1) // 2):
                    await self._send(half)
                return
            if receipt.outcome is Outcome.STOPPED:
                await self._journal.write([self._status(piece, "pending", message=receipt.message)])
                raise Refused(
                    f"{self._target.name}: {self._target.provider.title} refused the credentials or the route: "
                    f"{receipt.message.removesuffix('.')}. Mend the destination in the mapping, then run again"
                )
            if receipt.outcome is Outcome.NOT_TAKEN:
                # First of all the others wait, too.
                wait = self._pause(piece, receipt)
                await self._journal.write([self._status(piece, "pending", message=receipt.message)])
                self._give_up_after(wait, receipt)
            elif not await self._in_doubt(piece, receipt):
                return

    async def _exchange(self, piece: Piece) -> Receipt:
        target = self._target
        if piece.body is None:
            piece.body = target.route.envelope.bodies(piece.events).item(0, "body")
        request = target.route.request(target.settings, piece.body, piece.user)
        if self._debugged:
            self._log("request", piece, attempt=piece.attempts, bytes=len(piece.body))
        began = time.monotonic()
        try:
            receipt = target.route.read(await self._client.send(request), piece.rows)
        except NothingSent as error:
            receipt = Receipt(Outcome.NOT_TAKEN, message=str(error))
        except NoAnswer as error:
            receipt = Receipt(Outcome.IN_DOUBT, message=str(error))
        seconds = time.monotonic() - began
        self._pacer.answered(seconds)
        if receipt.message or receipt.refused or receipt.token:
            # Some servers repeat the request's path or headers in an error; keys must not reach the checkpoint so.
            if self._hidden is None or self._hidden[0] != request.headers:
                self._hidden = request.headers, sent_forms(self._secrets, request.headers)
            _, hidden = self._hidden
            refused = {at: without(words, hidden) for at, words in receipt.refused.items()}
            token = None if receipt.token is None else without(receipt.token, hidden)
            receipt = replace(receipt, token=token, message=without(receipt.message, hidden), refused=refused)
        if self._debugged:
            said = {"token": receipt.token, "message": receipt.message, "refused": len(receipt.refused) or None}
            self._log("answer", piece, outcome=receipt.outcome.value, seconds=round(seconds, 3), **said)
        return receipt

    def _log(self, event: str, piece: Piece, **fields: Any) -> None:
        """For who looks for the cause of something (`LOADER_LOG=debug`); without secrets."""
        where = {"run": self._target.run, "destination": self._target.name, "chunk": piece.number}
        _logger.debug(event, extra={"fields": {**where, "events": len(piece.rows), **fields}})

    def _drop_too_old(self, piece: Piece) -> list[Change]:
        """Reject the events that have left the provider's window since the plan was made."""
        window = self._target.route.window
        if window is None or window.past is None:
            return []
        oldest = (datetime.now(UTC).timestamp() - window.past + window.margin) * 1e6
        if piece.oldest is None or piece.oldest >= oldest:
            return []
        late = set(piece.events.filter(pl.col("time") < oldest).get_column("row"))
        hours = f"{window.past / 3600:g} hours"
        words = f"time: older than the {hours} that the provider accepts, by the time it could be sent"
        if piece.doubted:
            words += " again; it was in doubt before and may have arrived"
        piece.drop(late)
        self._rejected(len(late))
        rejected = dict.fromkeys(late, words)
        return refuse(self._target.run, self._target.name, rejected, "too_old", free_ids=not piece.doubted)

    def _record(self, piece: Piece, receipt: Receipt) -> None:
        """Begin to make the receipt of a piece that was taken durable. The lane goes on: the next intent shares the
        transaction."""
        refused = {piece.rows[at]: words for at, words in receipt.refused.items()}
        sent = len(piece.rows) - len(refused)
        if refused:
            piece.drop(set(refused))
        status = self._status(piece, "sent" if sent else "rejected", token=receipt.token)
        written = self._journal.write([status, *refuse(self._target.run, self._target.name, refused, "refused")])
        written.add_done_callback(partial(self._recorded, sent, len(refused)))

    def _recorded(self, sent: int, refused: int, written: asyncio.Future[None]) -> None:
        """Count what a receipt says, once it is durable."""
        if written.cancelled():
            return
        error = written.exception()
        if error is not None:
            self._end(error)
            return
        self._progress.advance(self._target.name, sent=sent)
        if refused:
            self._rejected(refused)

    async def _refused(self, piece: Piece, receipt: Receipt) -> None:
        changes = refuse(self._target.run, self._target.name, {piece.rows[0]: receipt.message}, "refused")
        piece.clear()
        await self._journal.write([self._status(piece, "rejected", message=receipt.message), *changes])
        self._rejected(1)

    def _rejected(self, count: int) -> None:
        self._progress.advance(self._target.name, rejected=count)
        try:
            self._on_rejected(count)
        except LoaderError as error:
            self._end(error)

    def _pause(self, piece: Piece, receipt: Receipt) -> float:
        """Pause the destination; the seconds."""
        too_fast = receipt.message.startswith("HTTP 429")
        wait = self._pacer.failed(receipt.wait, self._target.route.floor if too_fast else 0.0, too_fast=too_fast)
        self._progress.retrying(self._target.name, wait, receipt.message, piece.number)
        return wait

    def _give_up_after(self, wait: float, receipt: Receipt) -> None:
        """Raise Unreachable where nothing was taken for too long when `wait` seconds have passed."""
        target = self._target
        failing = self._pacer.failing
        if failing + wait > target.settings.give_up_after:
            raise Unreachable(
                f"{target.name}: {target.provider.title} took nothing for {failing:.0f} s, and the next try would be in"
                f" {wait:.0f} s (give_up_after {target.settings.give_up_after:g} s): {receipt.message}"
            )

    async def _in_doubt(self, piece: Piece, receipt: Receipt) -> bool:
        """Settle a piece whose answer was not read; True where it is to be sent again."""
        target = self._target
        piece.doubted = True
        if target.in_doubt == "skip":
            words = dict.fromkeys(piece.rows, f"{DOUBTED} ({receipt.message}); not sent again, as the mapping says")
            changes = refuse(target.run, target.name, words, "skipped", free_ids=False)
            piece.clear()
            await self._journal.write([self._status(piece, "rejected", message=receipt.message), *changes])
            self._rejected(len(words))
        else:
            await self._journal.write([self._status(piece, "in_doubt", message=receipt.message)])
        if target.in_doubt == "resend":
            self._give_up_after(self._pause(piece, receipt), receipt)
            return True
        self._doubts += 1
        if target.in_doubt == "hold":
            self._progress.advance(target.name, in_doubt=len(piece.rows))
        self._progress.retrying(target.name, self._pacer.failed(None, 0.0), receipt.message, piece.number)
        if self._doubts >= MOST_IN_DOUBT:
            raise Unreachable(
                f"{target.name}: {self._doubts} requests in a row left without a readable answer ({receipt.message});"
                " stopped, because each further one would be in doubt too"
            )
        return False

    async def _split(self, piece: Piece, left: int) -> tuple[Piece, Piece]:
        """Cut a piece after `left` of its events, in memory and in the checkpoint.

        The left half keeps the chunk's start, and the events that were rejected between its first and the right one's.
        """
        # Positions in the plan are gapless, rows are not: the right half starts behind the left one's planned events.
        planned = left + piece.refused
        if piece.refused:
            planned = await self._planned_until(piece, piece.rows[left])
        halves = piece.cut(left, planned)
        target = self._target
        key = {"run": target.run, "destination": target.name}
        right = {
            **key,
            "start": halves[1].start,
            "number": piece.number,
            "events": halves[1].planned,
            "part": piece.part,
            "first_row": min(halves[1].rows),
            "last_row": max(halves[1].rows),
            "status": "pending",
            "doubted": piece.doubted,
            "attempts": halves[1].attempts,
            "refused": halves[1].refused,
            "token": None,
            "message": None,
            "changed": None,
        }
        rows = halves[0].rows
        changes = split_chunk({**key, "start": piece.start}, (planned, min(rows), max(rows)), right)
        await self._journal.write([*changes, self._status(halves[0], "pending")])
        return halves

    async def _planned_until(self, piece: Piece, row: int) -> int:
        """The position inside the chunk of the event of `row`, counting those that were rejected since."""
        events = await asyncio.to_thread(self._open_part, piece.part)
        rows = events.get_column("row").slice(piece.start - self._part_starts[piece.part], piece.planned)
        position = rows.index_of(row)
        assert position is not None
        return position

    def _status(self, piece: Piece, status: str, *, token: str | None = None, message: str | None = None) -> Change:
        return set_chunk(
            self._target.run,
            self._target.name,
            piece.start,
            status,
            attempts=piece.attempts,
            refused=piece.refused,
            token=token,
            message=message,
            doubted=piece.doubted,
        )
