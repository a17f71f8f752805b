"""What a stand-in is: requests in, answers and accepted events out, no sockets.

A stand-in may remember (Bloomreach removes duplicates), but it neither reads nor writes anything by itself:
calling `StandIn.answer` is the moment at which the provider takes the events.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import orjson


def refuses_nothing(_index: int) -> bool:
    """Out: False, for every item of a request. The ordinary case of `Request.refuses`."""
    return False


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request: `path` without the query, `headers` by lower-case name, the whole `body`.

    `refuses` takes the index of an item and says whether the `partial` fault refuses it.
    """

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    refuses: Callable[[int], bool] = refuses_nothing


@dataclass(frozen=True, slots=True)
class Accepted:
    """Something the provider took: its JSON bytes, how many events it holds, and what else identifies it.

    A duplicate was answered like any other and then discarded by the provider.
    """

    raw: bytes
    events: int = 1
    duplicate: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer and what was accepted on the way to it."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    accepted: Sequence[Accepted] = ()


class StandIn(Protocol):
    """A provider's API, as its documents describe it."""

    @property
    def name(self) -> str:
        """Out: the provider's name, as in `/_sandbox/received?provider=`."""

    @property
    def success(self) -> int:
        """Out: the status that the documents give for success."""

    def owns(self, path: str) -> bool:
        """In: a path. Out: whether this provider would answer it, be it with an error."""

    def answer(self, request: Request, now: datetime) -> Answer:
        """In: a request and the sandbox's clock (UTC). Out: the answer; its `accepted` are taken."""

    def refuse(self, request: Request, status: int, /) -> Answer:
        """In: a request and an HTTP status. Out: the documents' complete answer for it; nothing is taken."""

    def lines(self, number: int, accepted: Accepted) -> Iterator[bytes]:
        """In: the request's number and what it brought. Out: one JSON text per event, in the order of arrival."""


def json_answer(status: int, content: object) -> Answer:
    """In: a status and anything JSON. Out: the answer."""
    return Answer(status, orjson.dumps(content))


def exact_json(body: bytes) -> Any:
    """Parse JSON so that `orjson.dumps` writes every number back with the digits it came with.

    In: UTF-8 JSON that `orjson.loads` has accepted. Out: the same, with numbers as `orjson.Fragment`.
    Raises RecursionError where the nesting is too deep.
    """
    return json.loads(body, parse_float=orjson.Fragment, parse_int=orjson.Fragment)
