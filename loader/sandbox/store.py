"""What the sandbox received, and its clock. Everything is in memory, as the bytes that came."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson

from loader.sandbox.faults import Fault
from loader.sandbox.standin import Accepted, Request, StandIn, refuses_nothing


class Clock:
    """The time of day for the providers' rules: the real one, or one that stands still where it was set."""

    def __init__(self, now: str | None = None) -> None:
        self.set(now)

    def now(self) -> datetime:
        """Out: the time, in UTC."""
        return (self._fixed or datetime.now(UTC)) + self._moved

    def set(self, now: str | None) -> None:
        """In: ISO 8601, UTC where it names no zone, or None for the real time. Raises ValueError."""
        moment = None if now is None else datetime.fromisoformat(now)
        self._fixed = moment and (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
        self._moved = timedelta()

    def advance(self, seconds: float) -> None:
        """In: by how much to move the clock, back where it is negative; the real time goes on from there.

        Raises ValueError where no calendar has such a time.
        """
        moved = self._moved
        try:
            self._moved += timedelta(seconds=seconds)
            self.now()
        except (OverflowError, ValueError):
            self._moved = moved
            raise ValueError(f"the clock cannot be moved by {seconds} seconds") from None


@dataclass(slots=True, eq=False)
class Visit:
    """One request from its head to its end. `status` is None as long as no answer has begun."""

    number: int
    stand_in: StandIn | None
    fault: Fault | None
    at: float = field(default_factory=time.time)
    status: int | None = None
    events: int = 0
    size: int = 0
    sha256: str | None = None

    @property
    def provider(self) -> str | None:
        """Out: the name of the provider whose route was asked for."""
        return None if self.stand_in is None else self.stand_in.name

    @property
    def kind(self) -> str:
        """Out: the kind of its fault, or nothing."""
        return "" if self.fault is None else self.fault.kind

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Request:
        """In: the request, complete. Out: the same with what its fault asks for."""
        fault = self.fault
        if fault is None:
            return Request(self.number, method, path, headers, body)
        refuses = partial(fault.refuses, self.number) if fault.kind == "partial" else refuses_nothing
        return Request(
            self.number, method, path, headers, body, refuses, fault.kind == "short", fault.retry_after
        )  # fmt: skip

    def line(self) -> bytes:
        """Out: the visit as a line of `/_sandbox/requests`."""
        return orjson.dumps(
            {
                "request": self.number,
                "at": self.at,
                "provider": self.provider,
                "status": self.status,
                "events": self.events,
                "bytes": self.size,
                "fault": self.kind or None,
                "sha256": self.sha256,
            }
        )


class Store:
    """The requests and the accepted events, in the order of their arrival."""

    def __init__(self, providers: Sequence[str]) -> None:
        self._providers = providers
        self.visits: list[Visit] = []
        self._taken: list[tuple[Visit, Accepted]] = []
        self._answers: Counter[str] = Counter()
        self._duplicates = 0
        self._in_flight = 0
        self._max_in_flight = 0

    def begin(self, visit: Visit) -> None:
        """In: a request whose head has arrived."""
        self.visits.append(visit)
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)

    def end(self) -> None:
        """A request has been answered, or never will be."""
        self._in_flight -= 1

    def take(self, visit: Visit, accepted: Sequence[Accepted]) -> None:
        """In: a request and what its provider accepted of it."""
        for item in accepted:
            self._taken.append((visit, item))
            if item.duplicate:
                self._duplicates += item.events
            else:
                visit.events += item.events

    def answered(self, visit: Visit, status: int) -> None:
        """In: a request and the status of the answer that begins now."""
        visit.status = status
        self._answers[str(status)] += 1

    def received(self, provider: str | None) -> Iterator[bytes]:
        """In: a provider's name, or None for all. Out: the lines of what it accepted, one text per request item."""
        for visit, item in list(self._taken):
            if visit.stand_in is not None and provider in (None, visit.provider):
                yield b"".join(line + b"\n" for line in visit.stand_in.lines(visit.number, item))

    def state(self) -> dict[str, Any]:
        """Out: the counts of `/_sandbox/state`; events do not count duplicates."""
        requests = Counter(visit.provider for visit in self.visits)
        events: Counter[str | None] = Counter()
        for visit in self.visits:
            events[visit.provider] += visit.events
        return {
            "requests": {provider: requests[provider] for provider in self._providers},
            "answers": dict(self._answers),
            "events": {provider: events[provider] for provider in self._providers},
            "duplicates": self._duplicates,
            "warnings": dict(Counter(item.warning for _, item in self._taken if item.warning)),
            "faults": dict(Counter(visit.kind for visit in self.visits if visit.kind)),
            "max_in_flight": self._max_in_flight,
        }
