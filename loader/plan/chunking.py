"""Where a chunk ends: as full as the limits allow, in the order of the events, whatever frames they came in."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from loader.providers.base import Route


@dataclass(frozen=True)
class Room:
    """What fits into one request.

    `events`: events per call. `bytes`: bytes of the body, or None. `envelope`: bytes around all events.
    `user_envelope`: bytes around the events of one user, or None where users do not stand in the body. `users`: users
    per call, or None.
    """

    events: int
    bytes: int | None = None
    envelope: int = 0
    user_envelope: int | None = None
    users: int | None = None

    @classmethod
    def of(cls, route: Route, events: int | None) -> Room:
        """The room of a route; `events` is the mapping's own, smaller number."""
        most, envelope = min(events or route.events_per_call, route.events_per_call), route.envelope
        user_envelope = None if envelope.user is None else envelope.user_bytes
        return cls(most, route.bytes_per_call, len(envelope), user_envelope, route.users_per_call)

    @property
    def by_users(self) -> bool:
        """Whether it matters whose the events are."""
        return self.users is not None or (self.bytes is not None and self.user_envelope is not None)


def chunk_ends(sizes: Sequence[int], users: Sequence[str | None], room: Room) -> list[int]:
    """The position after the last event of each chunk, in order; the last one is the number of events.

    `sizes`: bytes of each event's JSON text. `users`: each event's user as JSON text; empty unless `room.by_users`.
    An event that is too large for any request stands alone (the checks have rejected it before).
    """
    total = len(sizes)
    if room.by_users:
        return _ends_by_users(sizes, users, room)
    if room.bytes is None:
        return [*range(room.events, total, room.events), total] if total else []
    ends = []
    # A comma follows each event but the last, so one more byte fits than the sum with commas says.
    room_for_events = room.bytes - room.envelope + 1
    filled = list(accumulate(sizes, lambda before, size: before + size + 1, initial=0))
    start = 0
    while start < total:
        end = bisect_right(filled, filled[start] + room_for_events) - 1
        start = max(start + 1, min(end, start + room.events))
        ends.append(start)
    return ends


def _ends_by_users(sizes: Sequence[int], users: Sequence[str | None], room: Room) -> list[int]:
    """`chunk_ends` where a user's envelope is paid once per chunk, with its first event, or users are counted."""
    ends: list[int] = []
    seen: set[str | None] = set()
    most_bytes, most_users = room.bytes or math.inf, room.users or math.inf
    start, filled = 0, room.envelope
    for position, (size, user) in enumerate(zip(sizes, users, strict=True)):
        cost = _cost(size, user, seen, room)
        if position > start and (
            position - start >= room.events
            or filled + cost > most_bytes
            or (len(seen) >= most_users and user not in seen)
        ):
            ends.append(position)
            seen.clear()
            start, filled = position, room.envelope
            cost = _cost(size, user, seen, room)
        seen.add(user)
        filled += cost
    return [*ends, len(sizes)] if sizes else []


def _cost(size: int, user: str | None, seen: set[str | None], room: Room) -> int:
    """Bytes that an event adds to a body: itself, a comma unless it is the first, and a new user's envelope."""
    comma = 1 if seen else 0
    if room.user_envelope is None or user in seen:
        return size + comma
    return size + comma + len((user or "").encode()) + room.user_envelope
