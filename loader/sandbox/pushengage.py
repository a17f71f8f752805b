"""PushEngage, as "Track Event" describes it.

Choices, where the document is silent: 4 KB are 4096 bytes of compact JSON in UTF-8; a key of `data` has at most 255
characters, all ASCII; characters are code points; the reserved prefix is reserved as it is written; fields that the
document does not know are refused; every broken rule stands in `details`; the numbers of 403, 404, 429 and 503.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import orjson

from loader.sandbox.credentials import CREDENTIALS
from loader.sandbox.standin import Accepted, Answer, Request, json_answer, parse, with_retry_after

ROUTE: Final = "/api/v1/events"
MAX_NAME: Final = 64
RESERVED: Final = "PushEngage."
DATA_BYTES: Final = 4096
IDS: Final = ("profile_id", "device_token_hash")

_API_KEY: Final = CREDENTIALS["pushengage"]["api_key"]
_FIELDS: Final = ("event_name", *IDS, "data")
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")
# Response: status -> code and message; the document has those of 400, 401 and 500.
_ERRORS: Final = {
    400: (1003, "Invalid data"),
    401: (401000, "Invalid API key. The provided API key was not found or is incorrect."),
    403: (403000, "Forbidden"),
    404: (404000, "Not found"),
    429: (429000, "Too many requests"),
    500: (1001, "Something went wrong."),
    503: (503000, "Service unavailable"),
}
_NO_KEY: Final = (401002, "API key is required. Please provide a valid API key in the API-KEY header.")

Detail = dict[str, Any]


class PushEngage:
    """The route that takes one event."""

    name: Final = "pushengage"
    success: Final = 200

    def owns(self, path: str) -> bool:
        """In: a path. Out: whether it belongs to version 1 of the API."""
        return path.startswith("/api/v1/")

    def answer(self, request: Request, _now: datetime) -> Answer:
        """In: a request, the clock. Out: `error_code` 0 with the event taken, or an error with nothing taken."""
        if request.method != "POST" or request.path != ROUTE:
            return _error(404)
        key = request.headers.get("api-key", "")
        if not key:
            return _failure(401, *_NO_KEY)
        if key != _API_KEY:
            return _error(401)
        if not request.is_json():
            return _error(400, [_detail("Content-Type must be application/json")])
        try:
            event, exact = parse(request.body)
        except ValueError:
            return _error(400, [_detail("the body must be valid JSON")])
        if not isinstance(event, dict):
            return _error(400, [_detail("the body must be an object")])
        details = _problems(event, exact)
        if not details and request.refuses(0):
            details = [_detail("sandbox: refused by the partial fault", "event_name")]
        if details:
            return _error(400, details)
        # Notes: `profile_id` takes priority.
        receiver = next(kind for kind in IDS if kind in event)
        taken = Accepted(orjson.dumps(exact), facts={receiver: event[receiver]})
        return Answer(self.success, orjson.dumps({"error_code": 0, "data": {}}), accepted=[taken])

    def refuse(self, request: Request, _now: datetime, status: int) -> Answer:
        """In: a request, the clock, a status. Out: the document's error; nothing is taken.

        Failure nests its number in `error`; the status of success carries it at the top, where success has its 0.
        """
        if status == self.success:
            return json_answer(status, {"error_code": _ERRORS[500][0], "data": {}})
        details = [_detail("sandbox: refused by a fault", "event_name")] if status == 400 else None
        return with_retry_after(request, _error(status, details))

    def lines(self, number: int, accepted: Accepted) -> Iterator[bytes]:
        """In: a request's number and an event. Out: one line: the one id that counts, and the event as it came."""
        event = orjson.Fragment(accepted.raw)
        yield orjson.dumps({"provider": self.name, "request": number, **accepted.facts, "event": event})


def _error(status: int, details: list[Detail] | None = None) -> Answer:
    return _failure(status, *_ERRORS[status], details)


def _failure(status: int, code: int, message: str, details: list[Detail] | None = None) -> Answer:
    error: dict[str, Any] = {"message": message, "code": code}
    return json_answer(status, {"error": error if details is None else {**error, "details": details}})


def _detail(message: str, *path: str) -> Detail:
    return {"message": message, "path": list(path)}


def _problems(event: dict[str, Any], exact: dict[str, Any]) -> list[Detail]:
    """Request Body. In: an event, and the same with its digits. Out: all that is wrong with it."""
    details = [_detail(f"{field[:80]} is not allowed", field[:80]) for field in event if field not in _FIELDS]
    name = event.get("event_name")
    if "event_name" not in event or name == "":
        details.append(_detail("event_name is required", "event_name"))
    elif not isinstance(name, str):
        details.append(_detail("event_name must be a string", "event_name"))
    elif len(name) > MAX_NAME:
        details.append(_detail(f"event_name must have at most {MAX_NAME} characters", "event_name"))
    elif name.startswith(RESERVED):
        details.append(_detail(f'event_name must not start with "{RESERVED}"', "event_name"))
    given = [kind for kind in IDS if kind in event]
    if not given:
        details.append(_detail("either device_token_hash or profile_id is required", "profile_id"))
    details += [
        _detail(f"{kind} must be a string that is not empty", kind)
        for kind in given
        if not isinstance(event[kind], str) or not event[kind]
    ]
    if "data" in event:
        details += _data_problems(event["data"], exact["data"])
    return details


def _data_problems(data: Any, exact: Any) -> list[Detail]:
    if not isinstance(data, dict):
        return [_detail("data must be an object", "data")]
    details = []
    for key, value in data.items():
        if _KEY.fullmatch(key) is None:
            what = "must start with a letter or digit and hold at most 255 letters, digits, hyphens and underscores"
            details.append(_detail(f"a key of data {what}", "data", key[:80]))
        if not isinstance(value, str | int | float):
            details.append(_detail("a value must be a string, a number, a boolean or a date", "data", key[:80]))
    if len(orjson.dumps(exact)) > DATA_BYTES:
        details.append(_detail("data must have at most 4 KB", "data"))
    return details
