"""What a stand-in is: requests in, answers and accepted events out, no sockets.

A stand-in may remember (Bloomreach removes duplicates), but it neither reads nor writes anything by itself:
calling `StandIn.answer` is the moment at which the provider takes the events.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

import orjson


def refuses_nothing(_index: int) -> bool:
    """Out: False, for every item of a request. The ordinary case of `Request.refuses`."""
    return False


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request: `path` without the query, `headers` by lower-case name, the whole `body`.

    What a fault asks for: `refuses` takes the index of an item and says whether `partial` refuses it; `short` takes
    one item less than was sent; `retry_after` is how many seconds a refusal tells the client to wait.
    """

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    refuses: Callable[[int], bool] = refuses_nothing
    short: bool = False
    retry_after: float | None = None

    def is_json(self) -> bool:
        """Out: whether its Content-Type is `application/json`, whatever the parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Something the provider took: its JSON bytes, how many events it holds, and what else identifies it.

    A duplicate was answered like any other and then discarded by the provider. `warning` says what the provider took
    in silence although hardly anybody can have meant it.
    """

    raw: bytes
    events: int = 1
    duplicate: bool = False
    warning: str = ""
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

    def refuse(self, request: Request, now: datetime, status: int, /) -> Answer:
        """In: a request, the clock, an HTTP status. Out: the documents' complete answer for it; nothing is taken.

        The status of success asks for a body that says failure all the same.
        """

    def lines(self, number: int, accepted: Accepted) -> Iterator[bytes]:
        """In: the request's number and what it brought. Out: one JSON text per event, in the order of arrival."""


def json_answer(status: int, content: object, headers: Mapping[str, str] | None = None) -> Answer:
    """In: a status, anything JSON and further headers. Out: the answer."""
    return Answer(status, orjson.dumps(content), headers=headers or {})


def with_retry_after(request: Request, answer: Answer) -> Answer:
    """In: a request and its refusal. Out: the refusal; where a fault says how long to wait, with that as a header."""
    if request.retry_after is None:
        return answer
    return replace(answer, headers={**answer.headers, "Retry-After": f"{request.retry_after:g}"})


def parse(body: bytes) -> tuple[Any, Any]:
    """In: a body. Out: its content, and the same as `exact_json` reads it.

    Raises ValueError where it is not JSON or nested too deep to be written back.
    """
    try:
        content, exact = orjson.loads(body), exact_json(body)
        orjson.dumps(exact)
    except (RecursionError, orjson.JSONEncodeError):
        raise ValueError("nested too deep") from None
    return content, exact


def exact_json(body: bytes) -> Any:
    """Parse JSON so that `orjson.dumps` writes every number back with the digits it came with.

    In: UTF-8 JSON that `orjson.loads` has accepted. Out: the same, with numbers as `orjson.Fragment`.
    Raises RecursionError where the nesting is too deep.
    """
    return json.loads(body, parse_float=orjson.Fragment, parse_int=orjson.Fragment)
