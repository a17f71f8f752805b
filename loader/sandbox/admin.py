"""The routes under `/_sandbox/`: look at what was received, change the faults and the clock, forget everything.

    GET  /_sandbox/state                       counts
    GET  /_sandbox/received?provider=batch     accepted events, one JSON line each
    GET  /_sandbox/requests                    requests, one JSON line each
    POST /_sandbox/faults                      a JSON list of faults replaces all faults
    POST /_sandbox/clock                       {"now": ISO 8601 or null} or {"advance": seconds}
    POST /_sandbox/reset                       forgets events, requests and faults

A body that cannot be understood is answered 400 with `{"error": what}` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qs

import orjson

from loader.sandbox.faults import from_json
from loader.sandbox.rehearsal import Rehearsal
from loader.sandbox.standin import Answer, json_answer
from loader.sandbox.store import Clock

PREFIX: Final = "/_sandbox/"
Lines = Iterable[bytes]


def administer(rehearsal: Rehearsal, method: str, path: str, query: str, body: bytes) -> Answer | Lines:
    """In: a request to one of the routes above. Out: an answer, or the JSON lines that are its body."""
    try:
        match method, path.removeprefix(PREFIX):
            case "GET", "state":
                return json_answer(200, rehearsal.store.state())
            case "GET", "received":
                return rehearsal.store.received(_provider(rehearsal, query))
            case "GET", "requests":
                return [visit.line() + b"\n" for visit in rehearsal.store.visits]
            case "POST", "faults":
                rehearsal.set_faults([from_json(fault) for fault in _list(orjson.loads(body))])
            case "POST", "clock":
                _move(rehearsal.clock, orjson.loads(body))
            case "POST", "reset":
                rehearsal.reset()
            case _:
                return json_answer(404, {"error": f"the sandbox has no route {method} {path}"})
    except ValueError as problem:
        return json_answer(400, {"error": str(problem)})
    return json_answer(200, {"ok": True})


def _provider(rehearsal: Rehearsal, query: str) -> str | None:
    asked = parse_qs(query).get("provider", [None])[-1]
    names = [stand_in.name for stand_in in rehearsal.stand_ins]
    if asked is not None and asked not in names:
        raise ValueError(f"unknown provider {asked!r}; there are: {', '.join(names)}")
    return asked


def _list(content: object) -> list[object]:
    if not isinstance(content, list):
        raise ValueError("the body must be a list of faults")
    return content


def _move(clock: Clock, content: object) -> None:
    match content:
        case {"now": str() | None as now, **rest} if not rest:
            clock.set(now)
        case {"advance": int() | float() as seconds, **rest} if not rest and not isinstance(seconds, bool):
            clock.advance(seconds)
        case _:
            raise ValueError('the body must be {"now": ISO 8601 or null} or {"advance": seconds}')
