"""The routes under `/_sandbox/`: look at what was received, change the faults and the clock, forget everything.

    GET  /_sandbox/state                       counts
    GET  /_sandbox/received?provider=batch     accepted events, one JSON line each
    GET  /_sandbox/requests                    requests, one JSON line each
    POST /_sandbox/faults                      a JSON list of faults replaces all faults
    POST /_sandbox/clock                       {"now": ISO 8601 or null}
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
                rehearsal.clock.set(_now(orjson.loads(body)))
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


def _now(content: object) -> str | None:
    now = content.get("now") if isinstance(content, dict) and content.keys() == {"now"} else 0
    if now is not None and not isinstance(now, str):
        raise ValueError('the body must be {"now": ISO 8601 or null}')
    return now
