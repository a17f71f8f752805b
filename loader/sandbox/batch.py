"""Batch, as "Trigger Events API, POST track events" and "Trigger Events API, Parameters" describe it.

Choices, where the documents are silent: the body of an error is `{"code", "message"}`; a refused request stores
nothing at all; `time` and `date(...)` values are UTC; keys that the documents do not know are refused; an empty
`events` is a missing parameter; the same `id` twice in one request is a malformed one; the Custom User ID in the path
of the single route is one percent-encoded segment, and `.` and `..` are no ids there, as RFC 3986 removes them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

import orjson

from loader.sandbox.credentials import CREDENTIALS
from loader.sandbox.standin import Accepted, Answer, Request, exact_json, json_answer, with_retry_after

# POST track events, Failure: code -> HTTP status and name.
ERRORS: Final[dict[int, tuple[int, str]]] = {
    10: (401, "AUTHENTICATION_INVALID"),
    12: (403, "API_MISUSE"),
    20: (404, "ROUTE_NOT_FOUND"),
    30: (400, "MISSING_PARAMETER"),
    31: (400, "MALFORMED_PARAMETER"),
    32: (400, "MALFORMED_JSON_BODY"),
    1: (500, "SERVER_ERROR"),
    2: (503, "MAINTENANCE_ERROR"),
    60: (429, "TOO_MANY_REQUESTS"),
}
MISSING: Final = 30
MALFORMED: Final = 31
_CODE_OF_STATUS: Final = {401: 10, 403: 12, 404: 20, 400: MALFORMED, 500: 1, 503: 2, 429: 60}

MAX_EVENTS: Final = 1000
MAX_ID: Final = 1024
MAX_LABEL: Final = 200
MAX_ATTRIBUTES: Final = 15
MAX_TEXT: Final = 64
MAX_TAGS: Final = 10
WINDOW: Final = timedelta(hours=24)
PAUSE: Final = timedelta(seconds=5)

_API_KEYS: Final = (CREDENTIALS["batch"]["api_key"], CREDENTIALS["batch"]["api_key_2"])
_REST_KEY: Final = CREDENTIALS["batch"]["rest_api_key"]
_ROUTE: Final = re.compile(r"/1\.0/([^/]+)/events/users(?:/([^/]+))?")
_NAME: Final = re.compile(r"ue\.[a-z0-9_]{1,30}")
_KEY: Final = re.compile(r"[a-z0-9_]{1,30}|date\([a-z0-9_]{1,30}\)")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
_FRACTION: Final = re.compile(r"(\.[0-9]{3})?")
_USER_FIELDS: Final = ("id", "events")


class _RefusedError(Exception):
    """In: an error code of the documents and what is wrong."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(what)
        self.code = code


class Batch:
    """The bulk and the single route of the Trigger Events API.

    In: `any_time` accepts events of any time; `strict_429` keeps answering 429 to an app until it was left
    alone for five seconds ("wait for at least 5 seconds before trying again").
    """

    name: Final = "batch"
    success: Final = 201

    def __init__(self, *, any_time: bool = False, strict_429: bool = False) -> None:
        self._any_time = any_time
        self._strict_429 = strict_429
        self._last_request: dict[str, datetime] = {}

    def owns(self, path: str) -> bool:
        """In: a path. Out: whether it belongs to version 1.0 of the API."""
        return path.startswith("/1.0/")

    def answer(self, request: Request, now: datetime) -> Answer:
        """In: a request, the clock. Out: 201 and a token with everything taken, or an error with nothing taken."""
        if self._still_paused(request, now):
            return _error(60, "wait for at least 5 seconds before trying again")
        route = _ROUTE.fullmatch(request.path)
        if request.method != "POST" or route is None or route[1] not in _API_KEYS:
            return _error(20, f"no route for {request.method} {request.path}")
        if request.headers.get("x-authorization") != _REST_KEY:
            return _error(10, "the X-Authorization header does not hold a known REST API key")
        try:
            content = orjson.loads(request.body)
        except orjson.JSONDecodeError as problem:
            return _error(32, str(problem))
        try:
            single = None if route[2] is None else _user_of_path(route[2])
            events = self._check_bulk(content, now) if single is None else self._check_single(single, content, now)
        except _RefusedError as refused:
            return _error(refused.code, str(refused))
        if any(request.refuses(index) for index in range(events)):
            return _error(MALFORMED, "sandbox: refused by the partial fault")
        token = str(uuid.uuid4())
        facts = {"api_key": route[1], "token": token}
        taken = Accepted(request.body, events, facts=facts if single is None else {**facts, "user": single})
        return Answer(self.success, orjson.dumps({"token": token}), accepted=[taken])

    def refuse(self, request: Request, now: datetime, status: int) -> Answer:
        """In: a request, the clock, one of the documents' error statuses or 201. Out: the error; nothing is taken."""
        if status == 429 and self._strict_429:
            self._last_request[_app(request)] = now
        error = _error(_CODE_OF_STATUS.get(status, 1), "sandbox: refused by a fault")
        return with_retry_after(request, replace(error, status=status))

    def lines(self, number: int, accepted: Accepted) -> Iterator[bytes]:
        """In: a request's number and the body it brought. Out: one line per event, numbers as they were sent."""
        content = exact_json(accepted.raw)
        users = content if isinstance(content, list) else [{"id": accepted.facts["user"], **content}]
        for user in users:
            for event in user["events"]:
                line = {"provider": self.name, "request": number, **accepted.facts, "user": user["id"], "event": event}
                yield orjson.dumps(line)

    def _still_paused(self, request: Request, now: datetime) -> bool:
        app = _app(request)
        last = self._last_request.get(app)
        if last is None:
            return False
        if now - last >= PAUSE:
            del self._last_request[app]
            return False
        self._last_request[app] = now
        return True

    def _check_single(self, user_id: str, content: Any, now: datetime) -> int:
        """In: the id of the path, a parsed body. Out: the number of its events. Raises as `_check_bulk`."""
        total = _check_fields("", content, ("events",))
        _check_total(total)
        _check_events("", content["events"], *self._window(now))
        return total

    def _check_bulk(self, users: Any, now: datetime) -> int:
        """In: a parsed body. Out: the number of its events. Raises _RefusedError at the first broken rule."""
        if type(users) is not list:
            raise _RefusedError(MALFORMED, "the body must be an array of users")
        if not users:
            raise _RefusedError(MISSING, "the body holds no user")
        total = 0
        ids = set()
        for index, user in enumerate(users):
            total += _check_user(index, user)
            ids.add(user["id"])
            if len(ids) == index:
                raise _RefusedError(MALFORMED, f"[{index}].id is there for the second time")
        _check_total(total)
        window = self._window(now)
        for index, user in enumerate(users):
            _check_events(f"[{index}].", user["events"], *window)
        return total

    def _window(self, now: datetime) -> tuple[str, str]:
        # ISO times of one format sort as text, so the window needs no arithmetic per event.
        return ("", "~") if self._any_time else (_utc_text(now - WINDOW), _utc_text(now))


def _check_events(where: str, events: list[Any], oldest: str, newest: str) -> None:
    for position, event in enumerate(events):
        try:
            _check_event(event, oldest, newest)
        except _RefusedError as refused:
            raise _RefusedError(refused.code, f"{where}events[{position}]{refused}") from None


def _check_total(events: int) -> None:
    if events > MAX_EVENTS:
        raise _RefusedError(MALFORMED, f"{events} events, at most {MAX_EVENTS} are allowed in one call")


def _utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat()


def _app(request: Request) -> str:
    return request.path.split("/")[2]


def _user_of_path(segment: str) -> str:
    """POST track events, Route. In: the last segment of the single route. Out: the Custom User ID."""
    try:
        user_id = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise _RefusedError(MALFORMED, "the Custom User ID in the path must be UTF-8, percent-encoded") from None
    if user_id in (".", ".."):
        raise _RefusedError(20, f"a path ends before {user_id!r}")
    if len(user_id) > MAX_ID:
        raise _RefusedError(MALFORMED, f"the Custom User ID must have 1 to {MAX_ID} characters")
    return user_id


def _error(code: int, what: str) -> Answer:
    status, name = ERRORS[code]
    return json_answer(status, {"code": code, "message": f"{name}: {what}"})


def _check_user(index: int, user: Any) -> int:
    """POST track events, Bulk tracking. Out: the number of the user's events."""
    where = f"[{index}]"
    events = _check_fields(where, user, _USER_FIELDS)
    user_id = user["id"]
    if type(user_id) is not str or not 1 <= len(user_id) <= MAX_ID:
        raise _RefusedError(MALFORMED, f"{where}.id must be a string of 1 to {MAX_ID} characters")
    return events


def _check_fields(where: str, content: Any, fields: tuple[str, ...]) -> int:
    """In: what holds `events` and exactly these fields. Out: the number of its events."""
    if type(content) is not dict:
        raise _RefusedError(MALFORMED, f"{where or 'the body'} must be an object")
    for field in content:
        if field not in fields:
            raise _RefusedError(MALFORMED, f"{where}.{field[:80]} is not a field here")
    for field in fields:
        if field not in content:
            raise _RefusedError(MISSING, f"{where}.{field} is required")
    events = content["events"]
    if type(events) is not list:
        raise _RefusedError(MALFORMED, f"{where}.events must be an array")
    if not events:
        raise _RefusedError(MISSING, f"{where}.events is empty")
    return len(events)


def _check_event(event: Any, oldest: str, newest: str) -> None:
    """Parameters, The event object. In: an event, the window of its time. Raises with where and what."""
    if type(event) is not dict:
        raise _RefusedError(MALFORMED, " must be an object")
    if "name" not in event:
        raise _RefusedError(MISSING, ".name is required")
    for field, value in event.items():
        if field == "name":
            if type(value) is not str or not _good_name(value):
                raise _RefusedError(MALFORMED, f".name must match ^{_NAME.pattern}$")
        elif field == "time":
            if type(value) is not str or not _good_time(value):
                raise _RefusedError(MALFORMED, ".time must be written YYYY-MM-ddTHH:mm:ss")
            if not oldest <= value <= newest:
                raise _RefusedError(MALFORMED, f".time must be in the last 24 hours and not in the future: {value}")
        elif field == "label":
            if type(value) is not str or len(value) > MAX_LABEL:
                raise _RefusedError(MALFORMED, f".label must be a string of at most {MAX_LABEL} characters")
        elif field == "attributes":
            _check_attributes(value)
        elif field == "tags":
            _check_tags(value)
        else:
            raise _RefusedError(MALFORMED, f".{field[:80]} is not a field of an event")


def _check_attributes(attributes: Any) -> None:
    """Parameters, The attribute object."""
    if type(attributes) is not dict or len(attributes) > MAX_ATTRIBUTES:
        raise _RefusedError(MALFORMED, f".attributes must be an object of at most {MAX_ATTRIBUTES} attributes")
    for key, value in attributes.items():
        dated = _is_dated(key)
        kind = type(value)
        if dated is None:
            raise _RefusedError(MALFORMED, f".attributes.{key[:80]} must match ^({_KEY.pattern})$")
        if kind is str:
            if dated and not _good_date(value):
                raise _RefusedError(MALFORMED, f".attributes.{key} must be seconds or YYYY-MM-ddTHH:mm:ss")
            if len(value) > MAX_TEXT:
                raise _RefusedError(MALFORMED, f".attributes.{key} is over {MAX_TEXT} characters")
        elif kind is not int and kind is not float and (dated or kind is not bool):
            allowed = "seconds or YYYY-MM-ddTHH:mm:ss" if dated else "a string, a number, a boolean or a date"
            raise _RefusedError(MALFORMED, f".attributes.{key} must be {allowed}")


def _check_tags(tags: Any) -> None:
    if type(tags) is not list or len(tags) > MAX_TAGS:
        raise _RefusedError(MALFORMED, f".tags must be an array of at most {MAX_TAGS} tags")
    for tag in tags:
        if type(tag) is not str or len(tag) > MAX_TEXT:
            raise _RefusedError(MALFORMED, f".tags must be strings of at most {MAX_TEXT} characters")


# Names, keys and times repeat from event to event: remembering them makes a full request several times cheaper.
@lru_cache(maxsize=4096)
def _good_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


@lru_cache(maxsize=4096)
def _is_dated(key: str) -> bool | None:
    return None if _KEY.fullmatch(key) is None else key.endswith(")")


@lru_cache(maxsize=65536)
def _good_time(text: str) -> bool:
    if _TIME.fullmatch(text) is None:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=65536)
def _good_date(text: str) -> bool:
    # The documents' own date string carries ".000".
    return _good_time(text[:19]) and _FRACTION.fullmatch(text, 19) is not None
