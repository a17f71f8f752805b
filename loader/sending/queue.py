"""The chunks of a destination in the order in which they may leave: that of the plan, but for those that must wait.

Where the order of a user's events matters, a chunk waits until each earlier one that may hold a user of its own is
answered. Meanwhile later ones may pass it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import polars as pl

from loader.providers.envelope import Envelope
from loader.sending.piece import Part, Piece


class Parts:
    """The parts of a plan, one after the other; the next one is made ready while one is sent."""

    def __init__(self, starts: dict[int, int], open_part: Callable[[int], pl.DataFrame], envelope: Envelope) -> None:
        """`starts`: the number of each part with chunks to send → the position of its first event. `open_part`: a
        part's number → its events (`plan.PART_SCHEMA`)."""
        self._starts, self._open, self._envelope = starts, open_part, envelope
        self._current: Part | None = None
        self._next: tuple[int, asyncio.Task[Part]] | None = None

    async def part(self, number: int) -> Part:
        """The part with this number. Raises StateError where it is missing or damaged."""
        if self._current is None or self._current.number != number:
            coming, self._next = self._next, None
            self._current = await (coming[1] if coming is not None and coming[0] == number else self._ready(number))
            following = min((other for other in self._starts if other > number), default=None)
            if following is not None:
                task = asyncio.create_task(self._ready(following))
                # One that fails and is not needed after all troubles nobody.
                task.add_done_callback(lambda done: done.cancelled() or done.exception())
                self._next = following, task
        return self._current

    def close(self) -> None:
        """Make nothing more ready."""
        if self._next is not None:
            self._next[1].cancel()

    async def _ready(self, number: int) -> Part:
        return await asyncio.to_thread(self._make_ready, number)

    def _make_ready(self, number: int) -> Part:
        return Part(number, self._starts[number], self._open(number), self._envelope)


class Queue:
    """Pieces that may leave, one at a time to whoever asks."""

    def __init__(self, load: Callable[[], Awaitable[list[Piece]]], ahead: int, *, ordered: bool) -> None:
        """`load`: the next pieces of the plan, none after the last one. `ahead`: where fewer wait, more are loaded.
        `ordered`: whether the order of a user's events matters."""
        self._load, self._ahead, self._ordered = load, ahead, ordered
        self._loading = asyncio.Lock()
        self._complete = False
        self._waiting: list[Piece] = []
        self._under_way: list[Piece] = []
        self._asking: list[asyncio.Future[None]] = []

    async def next(self) -> Piece | None:
        """The next piece that may leave; None where there is none any more. Raises what `load` raises."""
        while True:
            piece = self._take()
            if piece is not None:
                return piece
            if not self._complete and len(self._waiting) < self._ahead:
                await self._load_more()
            elif not self._waiting:
                return None
            else:
                asking = asyncio.get_running_loop().create_future()
                self._asking.append(asking)
                await asking

    def free(self, piece: Piece) -> None:
        """Let other pieces send the users of this one."""
        if piece in self._under_way:
            self._under_way.remove(piece)
            self._wake()

    def close(self) -> None:
        """Give out nothing more."""
        self._complete, self._waiting = True, []
        self._wake()

    def _take(self) -> Piece | None:
        before = self._under_way.copy() if self._ordered else []
        for at, piece in enumerate(self._waiting):
            if not piece.shares_users(before):
                del self._waiting[at]
                self._under_way.append(piece)
                return piece
            before.append(piece)
        return None

    async def _load_more(self) -> None:
        async with self._loading:
            # It may have been closed meanwhile, or the last one loaded.
            pieces = [] if self._complete else await self._load()
            if not pieces:
                self._complete = True
            elif not self._complete:
                self._waiting += pieces
        self._wake()

    def _wake(self) -> None:
        asking, self._asking = self._asking, []
        for future in asking:
            if not future.done():
                future.set_result(None)
