"""Bloomreach Engagement, as its documents describe it: "Batch commands", "Add event", "Update customer properties",
"Imports technical reference" (deduplication), "Authorization errors", "Request body errors" and "Most common API
requests errors".

Choices, where the documents are silent: more than 50 commands refuse the whole request; an unknown command name
fails that command; `errors` stands beside the documented `message` of a refused request; ISO 8601 times take `Z` or
no zone ("Data types" excludes numeric offsets); fields that the documents do not know are ignored; a `timestamp` or
`properties` of null is as good as none, as Exponea's own SDK sends them; a `timestamp` in milliseconds is taken for
seconds, silently as the documents have it, and kept with a warning.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import orjson

from loader.sandbox.credentials import CREDENTIALS
from loader.sandbox.standin import Accepted, Answer, Request, json_answer, parse, with_retry_after

MAX_COMMANDS: Final = 50
MESSAGE_BYTES: Final = 800 * 1024
VALUE_BYTES: Final = 16 * 1024
REMEMBERED: Final = timedelta(days=90)

_KEYS: Final = CREDENTIALS["bloomreach"]
_ROUTE: Final = re.compile(r"/track/v2/projects/([^/]+)/(batch|customers|customers/events|system/time)")
_COMMANDS: Final = ("customers", "customers/events")
_UNIX_TEXT: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_ISO_TEXT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z?")

# Seconds from here on lie beyond the year 5138: somebody sent milliseconds.
_ABSURD: Final = 1e11
MILLISECONDS: Final = "a timestamp over 100000000000: taken for seconds, thousands of years ahead"

Result = dict[str, Any]
# How `errors` of a result look; documented: text where one event was sent alone, a list in the batch.
ErrorForm = Literal["documented", "text", "list", "object"]


class Bloomreach:
    """The Tracking API: the batch route, and one event, one customer update or the time alone.

    In: `shuffle_results` returns the results in another order than the commands; `empty_properties` accepts
    commands without properties, as newer pages do; `errors` is the form of a result's `errors`.
    """

    name: Final = "bloomreach"
    success: Final = 200

    def __init__(
        self, *, shuffle_results: bool = False, empty_properties: bool = False, errors: ErrorForm = "documented"
    ) -> None:
        self._shuffle_results = shuffle_results
        self._error_form = errors
        self._empty_properties = empty_properties
        self._last_seen: dict[bytes, datetime] = {}

    def owns(self, path: str) -> bool:
        """In: a path. Out: whether it belongs to the Tracking API."""
        return path.startswith("/track/")

    def answer(self, request: Request, now: datetime) -> Answer:
        """In: a request, the clock. Out: one result or one per command, or an error for the whole request."""
        route = _ROUTE.fullmatch(request.path)
        if route is None or request.method != ("GET" if route[2] == "system/time" else "POST"):
            return self.refuse(request, now, 404)
        if route[1] != _KEYS["project_token"]:
            return _no_access(400, "Invalid project id")
        refused = _check_access(request.headers.get("authorization", ""))
        if refused is not None:
            return refused
        if route[2] == "system/time":
            return json_answer(self.success, {"errors": [], "success": True, "time": now.timestamp()})
        if not request.is_json():
            return _refused(400, "Header 'content-type' must be application/json")
        try:
            parsed, exact = parse(request.body)
        except ValueError:
            return _refused(400, "Invalid JSON")
        if route[2] == "batch":
            return self._batch(request, parsed, exact, now)
        return self._single(request, route[2], parsed, exact, now)

    def _single(self, request: Request, name: str, data: Any, exact: Any, now: datetime) -> Answer:
        """Add event, Update customer properties: what the batch calls a command, sent alone."""
        if not isinstance(data, dict):
            return _refused(400, "Invalid JSON")
        command, raw = {"name": name, "data": data}, orjson.dumps({"name": name, "data": exact})
        problems = self._data_problems(name, data, len(orjson.dumps(exact)))
        if not problems and request.refuses(0):
            problems = ["sandbox: refused by the partial fault"]
        if problems:
            return json_answer(self.success, {"success": False, "errors": self._errors(problems, "text")})
        taken = self._take(command, exact, raw, now)
        return Answer(self.success, orjson.dumps({"errors": [], "success": True}), accepted=[taken])

    def _batch(self, request: Request, parsed: Any, exact: Any, now: datetime) -> Answer:
        """Batch commands, Error handling: a result with `success` true has been accepted, whatever the others are."""
        started = time.perf_counter()
        commands = parsed.get("commands") if isinstance(parsed, dict) else None
        if not isinstance(commands, list) or not commands:
            return _refused(400, "No commands")
        if len(commands) > MAX_COMMANDS:
            return _refused(400, f"{len(commands)} commands, at most {MAX_COMMANDS} are allowed")
        if not all(isinstance(command, dict) for command in commands):
            return _refused(400, "Invalid JSON")
        results: list[Result] = []
        accepted: list[Accepted] = []
        for index, (command, exact_command) in enumerate(zip(commands, exact["commands"], strict=True)):
            raw = orjson.dumps(exact_command)
            problems = self._problems(command, raw)
            if not problems and request.refuses(index):
                problems = ["sandbox: refused by the partial fault"]
            result: Result = {"success": not problems}
            if problems:
                result["errors"] = self._errors(problems, "list")
            elif command["name"] == "system/time":
                result["time"] = now.timestamp()
            else:
                accepted.append(self._take(command, exact_command["data"], raw, now))
            if "command_id" in command:
                result["command_id"] = command["command_id"]
            results.append(result)
        if self._shuffle_results:
            results = results[1:] + results[:1]
        start = now.timestamp()
        end = start + time.perf_counter() - started
        content = {"results": results, "start_time": start, "end_time": end, "success": True}
        return Answer(self.success, orjson.dumps(content), accepted=accepted)

    def refuse(self, request: Request, _now: datetime, status: int) -> Answer:
        """In: a request, the clock, a status. Out: the documents' answer to the whole request; nothing is taken."""
        if status in (401, 403):
            return _no_access(status, "access key not found" if status == 401 else "invalid secret")
        what = {
            200: "sandbox: refused by a fault",
            400: "Invalid JSON",
            404: "The requested URL was not found on the server",
            429: "Too many requests",
            500: "API is unavailable",
        }.get(status, "Service unavailable")
        return with_retry_after(request, _refused(status, what))

    def lines(self, number: int, accepted: Accepted) -> Iterator[bytes]:
        """In: a request's number and a command. Out: one line; the command's numbers have the digits they came with.

        What came by a route of its own looks like the command that it would have been.
        """
        yield orjson.dumps(
            {
                "provider": self.name,
                "request": number,
                "duplicate": accepted.duplicate,
                **({"warning": accepted.warning} if accepted.warning else {}),
                "command": orjson.Fragment(accepted.raw),
            }
        )

    def _errors(self, problems: list[str], documented: str) -> Any:
        """Out: `errors` as text ("Add event"), list ("Batch commands") or object (the tests of Exponea's SDK)."""
        form = documented if self._error_form == "documented" else self._error_form
        return {"text": " ".join(problems), "list": problems, "object": {"_global": problems}}[form]

    def _take(self, command: dict[str, Any], exact: dict[str, Any], raw: bytes, now: datetime) -> Accepted:
        """In: a good command, the same `data` with its digits, and its JSON. Out: the command, taken."""
        if command["name"] != "customers/events":
            return Accepted(raw)
        timestamp = command["data"].get("timestamp")
        number = not isinstance(timestamp, str) or _UNIX_TEXT.fullmatch(timestamp)
        absurd = timestamp is not None and number and float(timestamp) > _ABSURD
        duplicate = self._is_duplicate(command["data"], exact, now)
        return Accepted(raw, duplicate=duplicate, warning=MILLISECONDS if absurd else "")

    def _problems(self, command: dict[str, Any], raw: bytes) -> list[str]:
        """Batch commands, Commands object attributes. Out: what is wrong with one command, or nothing."""
        name = command.get("name")
        if "command_id" in command and not isinstance(command["command_id"], str):
            return ["Field 'command_id' must be a string."]
        if "name" not in command:
            return ["Field 'name' is required."]
        if name == "system/time":
            return []
        if name not in _COMMANDS:
            return [f"Unknown command: {str(name)[:80]}."]
        data = command.get("data")
        if not isinstance(data, dict):
            return ["Field 'data' is required."]
        return self._data_problems(name, data, len(raw))

    def _data_problems(self, name: str, data: dict[str, Any], size: int) -> list[str]:
        """Add event, Update customer properties, Body parameters. In: `size`: bytes of compact JSON that count."""
        if size >= MESSAGE_BYTES:
            return ["The message must be less than 800 KBytes."]
        problems = _id_problems(data.get("customer_ids"))
        if name == "customers/events":
            if not data.get("event_type"):
                problems.append("Field 'event_type' is required.")
            elif not isinstance(data["event_type"], str):
                problems.append("Field 'event_type' must be a string.")
            if data.get("timestamp") is not None and not _good_timestamp(data["timestamp"]):
                problems.append("Field 'timestamp' must be a UNIX timestamp in seconds or ISO 8601.")
        elif "update_timestamp" in data and type(data["update_timestamp"]) not in (int, float):
            problems.append("Field 'update_timestamp' must be a number.")
        properties = data.get("properties")
        if properties is None:
            properties = {}
        if not isinstance(properties, dict):
            problems.append("Field 'properties' must be an object.")
        elif not properties and not self._empty_properties:
            problems.append("At least one property should be specified.")
        elif size >= VALUE_BYTES:
            problems += [
                f"Property '{key[:80]}' must be less than 16 KBytes."
                for key, value in properties.items()
                if len(orjson.dumps(value)) >= VALUE_BYTES
            ]
        return problems

    def _is_duplicate(self, data: dict[str, Any], exact: dict[str, Any], now: datetime) -> bool:
        """Imports technical reference, Deduplication: the same event type, the same timestamp to the last decimal place
        and the same attribute values and types, within one customer, seen within 90 days; a duplicate renews them.
        """
        # Numbers compare by value and type, except the timestamp: that compares as it was written.
        given = data.get("timestamp") is not None
        timestamp = orjson.dumps(exact["timestamp"]).decode() if given else repr(now.timestamp())
        content = [data["customer_ids"], data["event_type"], timestamp, data.get("properties") or {}]
        identity = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()
        last_seen = self._last_seen.get(identity)
        self._last_seen[identity] = now
        return last_seen is not None and now - last_seen < REMEMBERED


def _refused(status: int, what: str) -> Answer:
    """Tracking API error messages, Batch endpoints: the whole request fails with a top-level message."""
    return json_answer(status, {"success": False, "message": what, "errors": [what]})


def _no_access(status: int, what: str) -> Answer:
    """Authorization errors: access problems carry a singular `error`."""
    return json_answer(status, {"success": False, "error": what})


def _check_access(authorization: str) -> Answer | None:
    """Authorization header; Most common API requests errors. Out: the refusal, or None for a known key."""
    scheme, _, value = authorization.partition(" ")
    if scheme == "Token" and value:
        return None if value == _KEYS["api_token"] else _no_access(401, "access key not found")
    if scheme != "Basic":
        return _no_access(401, "access key not provided")
    try:
        key_id, colon, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return _no_access(401, "access key not provided")
    if not colon:
        return _no_access(401, "access key not provided")
    if key_id != _KEYS["api_key_id"]:
        return _no_access(401, "access key not found")
    return None if secret == _KEYS["api_secret"] else _no_access(403, "invalid secret")


def _id_problems(ids: Any) -> list[str]:
    """Add event: at least one id. Most common API requests errors: a valid id has at least one letter or digit
    and is not 'null' or 'undefined'.
    """
    if not isinstance(ids, dict) or not ids:
        return ["At least one id should be specified."]
    for value in ids.values():
        if type(value) in (int, float):
            return []
        if isinstance(value, str) and value not in ("null", "undefined") and any(map(str.isalnum, value)):
            return []
    return ["At least one valid id should be specified."]


def _good_timestamp(value: Any) -> bool:
    """Add event: seconds, as a number or as text, or a date-time in ISO 8601."""
    if not isinstance(value, str):
        return type(value) in (int, float)
    if _UNIX_TEXT.fullmatch(value):
        return True
    if not _ISO_TEXT.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value[:19])
    except ValueError:
        return False
    return True
