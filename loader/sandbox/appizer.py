"""Appizer, as "Batch Track", "Rate Limits" and "Error Codes" describe it.

Choices, where the documents are silent: the minute of the rate limit begins with the first request after the last
minute has ended, and every request of a known key counts, refused content included; the hourly and daily limits of
the plans are not played; a refused request stores nothing at all and names no event; fields that the documents do not
know are refused; the codes of 404, 500 and 503; which event a short `processed_count` has left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from loader.sandbox.credentials import CREDENTIALS
from loader.sandbox.standin import Accepted, Answer, Request, json_answer, parse, with_retry_after

ROUTE: Final = "/v1/events/batch"
MAX_EVENTS: Final = 100
MAX_REQUESTS: Final = 100
MINUTE: Final = timedelta(minutes=1)

_KEYS: Final = (CREDENTIALS["appizer"]["api_key"], CREDENTIALS["appizer"]["api_key_2"])
_REQUIRED: Final = {"event_name": str, "user_id": str}
_FIELDS: Final = {**_REQUIRED, "properties": dict, "ip": str, "ua": str}
_TYPE_WORDS: Final = {
    str: "string", dict: "object", list: "array", bool: "boolean", int: "number", float: "number", type(None): "null",
}  # fmt: skip
# Error Codes, HTTP Status Codes and Common Errors: status -> error, code, message.
_ERRORS: Final = {
    400: ("Bad Request", "INVALID_REQUEST", "Invalid request body"),
    401: ("Unauthorized", "INVALID_API_KEY", "Invalid API key"),
    403: ("Forbidden", "INSUFFICIENT_PERMISSIONS", "API key does not have permission for this operation"),
    404: ("Not Found", "NOT_FOUND", "Resource not found"),
    429: ("Too Many Requests", "RATE_LIMIT_EXCEEDED", "Rate limit exceeded"),
    500: ("Internal Server Error", "INTERNAL_ERROR", "Something went wrong on our end"),
    503: ("Service Unavailable", "SERVICE_UNAVAILABLE", "Service temporarily unavailable"),
}


class _RefusedError(Exception):
    """In: the complete answer to a body that breaks a rule."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


@dataclass(slots=True)
class _Window:
    """One minute of one key."""

    start: datetime
    requests: int = 0

    def headers(self) -> dict[str, str]:
        """Rate Limits, Rate Limit Headers."""
        return {
            "X-RateLimit-Limit": str(MAX_REQUESTS),
            "X-RateLimit-Remaining": str(max(0, MAX_REQUESTS - self.requests)),
            "X-RateLimit-Reset": str(math.ceil((self.start + MINUTE).timestamp())),
        }


class Appizer:
    """The batch route of the Events API. In: `unlimited` takes any number of requests a minute."""

    name: Final = "appizer"
    success: Final = 200

    def __init__(self, *, unlimited: bool = False) -> None:
        self._unlimited = unlimited
        self._windows: dict[str, _Window] = {}

    def owns(self, path: str) -> bool:
        """In: a path. Out: whether it belongs to version 1 of the API."""
        return path.startswith("/v1/")

    def answer(self, request: Request, now: datetime) -> Answer:
        """In: a request, the clock. Out: the count of what was taken, or an error with nothing taken."""
        if request.method != "POST" or request.path != ROUTE:
            return _error(404)
        authorization = request.headers.get("authorization")
        if authorization is None:
            return _error(401, "MISSING_AUTH", "Missing Authorization header")
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or key not in _KEYS:
            return _error(401)
        window = self._window(key, now)
        if window.requests >= MAX_REQUESTS:
            seconds = max(1, math.ceil((window.start + MINUTE - now).total_seconds()))
            return _too_many(seconds, window.headers())
        if not self._unlimited:
            window.requests += 1
        try:
            accepted = _accept(request, key)
        except _RefusedError as refused:
            return Answer(refused.answer.status, refused.answer.body, headers=window.headers())
        content = {
            "success": True,
            "processed_count": len(accepted),
            "message": "Batch events tracked successfully",
        }
        return Answer(self.success, orjson.dumps(content), headers=window.headers(), accepted=accepted)

    def refuse(self, request: Request, _now: datetime, status: int) -> Answer:
        """In: a request, the clock, a status. Out: the documents' error, or a success that is none; nothing is taken.

        A 429 says when to come back in its body, the only place that the documents name: after a second by default.
        """
        if status == 429:
            seconds = 1 if request.retry_after is None else request.retry_after
            return _too_many(int(seconds) if seconds == int(seconds) else seconds)
        if status == self.success:
            content = {"success": False, "processed_count": 0, "message": "sandbox: refused by a fault"}
            return json_answer(status, content)
        details = {"required_permission": "write", "current_permissions": ["read"]} if status == 403 else None
        return with_retry_after(request, _error(status, details=details))

    def lines(self, number: int, accepted: Accepted) -> Iterator[bytes]:
        """In: a request's number and an event. Out: one line; the event's numbers have the digits they came with."""
        event = orjson.Fragment(accepted.raw)
        yield orjson.dumps({"provider": self.name, "request": number, **accepted.facts, "event": event})

    def _window(self, key: str, now: datetime) -> _Window:
        window = self._windows.get(key)
        # The clock may have been set back.
        if window is None or not window.start <= now < window.start + MINUTE:
            window = self._windows[key] = _Window(now)
        return window


def _error(status: int, code: str | None = None, message: str | None = None, details: object = None) -> Answer:
    """Error Codes, Error Response Format. In: a status, and what differs from its first example."""
    error, first_code, first_message = _ERRORS[status]
    content = {"error": error, "message": message or first_message, "code": code or first_code}
    return json_answer(status, content if details is None else {**content, "details": details})


def _too_many(seconds: float, headers: dict[str, str] | None = None) -> Answer:
    """Rate Limits, Rate Limit Exceeded Response."""
    error, code, message = _ERRORS[429]
    details = {"limit": MAX_REQUESTS, "window": "1 minute", "retry_after": seconds}
    return json_answer(429, {"error": error, "message": message, "code": code, "details": details}, headers)


def _invalid(field: str, issue: str) -> _RefusedError:
    return _RefusedError(_error(400, details={"field": field, "issue": issue}))


def _missing(field: str) -> _RefusedError:
    return _RefusedError(_error(400, "MISSING_FIELD", f"Missing required field: {field}"))


def _check_type(field: str, value: Any, expected: type) -> None:
    if type(value) is not expected:
        details = {"field": field, "expected": _TYPE_WORDS[expected], "received": _TYPE_WORDS[type(value)]}
        raise _RefusedError(_error(400, "INVALID_TYPE", "Invalid field type", details))


def _accept(request: Request, key: str) -> list[Accepted]:
    """Batch Track, Parameters. Out: the events that are taken. Raises _RefusedError at the first broken rule."""
    if not request.is_json():
        raise _invalid("Content-Type", "Must be application/json")
    try:
        content, exact = parse(request.body)
    except ValueError as problem:
        raise _invalid("body", f"Not valid JSON: {problem}") from None
    _check_type("body", content, dict)
    for field in content:
        if field != "events":
            raise _invalid(field[:80], "Unknown field")
    if "events" not in content:
        raise _missing("events")
    events = content["events"]
    _check_type("events", events, list)
    if not events:
        raise _invalid("events", "At least 1 event is required")
    if len(events) > MAX_EVENTS:
        raise _invalid("events", f"Too many events: {len(events)}, at most {MAX_EVENTS}")
    for event in events:
        _check_event(event)
    if any(request.refuses(index) for index in range(len(events))):
        raise _invalid("events", "sandbox: refused by the partial fault")
    accepted = [Accepted(orjson.dumps(event), facts={"api_key": key}) for event in exact["events"]]
    if request.short:
        # In the middle, so that nobody can take the count for a number of events from the start.
        del accepted[len(accepted) // 2]
    return accepted


def _check_event(event: Any) -> None:
    """Batch Track, Event Object."""
    _check_type("events", event, dict)
    for field, value in event.items():
        if field not in _FIELDS:
            raise _invalid(field[:80], "Unknown field")
        _check_type(field, value, _FIELDS[field])
    for field in _REQUIRED:
        if field not in event:
            raise _missing(field)
        if not event[field]:
            raise _invalid(field, "Field is required")
