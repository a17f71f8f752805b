"""Bloomreach Engagement, as its documents describe it: "Batch commands", "Add event", "Update customer properties",
"Imports technical reference" (deduplication), "Authorization errors", "Request body errors" and "Most common API
requests errors".

Choices, where the documents are silent: more than 50 commands refuse the whole request; an unknown command name
fails that command; `errors` stands beside the documented `message` of a refused request; ISO 8601 times take `Z` or
no zone ("Data types" excludes numeric offsets); fields that the documents do not know are ignored.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from loader.sandbox.credentials import CREDENTIALS
from loader.sandbox.standin import Accepted, Answer, Request, exact_json, json_answer

MAX_COMMANDS: Final = 50
COMMAND_BYTES: Final = 800 * 1024
VALUE_BYTES: Final = 16 * 1024
REMEMBERED: Final = timedelta(days=90)

_KEYS: Final = CREDENTIALS["bloomreach"]
_ROUTE: Final = re.compile(r"/track/v2/projects/([^/]+)/batch")
_UNIX_TEXT: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_ISO_TEXT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z?")

Result = dict[str, Any]


class Bloomreach:
    """The batch route of the Tracking API.

    In: `shuffle_results` returns the results in another order than the commands; `empty_properties` accepts
    commands without properties, as newer pages do.
    """

    name: Final = "bloomreach"
    success: Final = 200

    def __init__(self, *, shuffle_results: bool = False, empty_properties: bool = False) -> None:
        self._shuffle_results = shuffle_results
        self._empty_properties = empty_properties
        self._last_seen: dict[bytes, datetime] = {}

    def owns(self, path: str) -> bool:
        """In: a path. Out: whether it belongs to the Tracking API."""
        return path.startswith("/track/")

    def answer(self, request: Request, now: datetime) -> Answer:
        """In: a request, the clock. Out: one result per command, or an error for the whole request.

        Batch commands, Error handling: a result with `success` true has been accepted, whatever the others are.
        """
        started = time.perf_counter()
        route = _ROUTE.fullmatch(request.path)
        if request.method != "POST" or route is None:
            return self.refuse(request, 404)
        if route[1] != _KEYS["project_token"]:
            return _no_access(400, "Invalid project id")
        refused = _check_access(request.headers.get("authorization", ""))
        if refused is not None:
            return refused
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _refused(400, "Header 'content-type' must be application/json")
        try:
            parsed, exact = orjson.loads(request.body), exact_json(request.body)
        except (orjson.JSONDecodeError, RecursionError):
            return _refused(400, "Invalid JSON")
        commands = parsed.get("commands") if isinstance(parsed, dict) else None
        if not isinstance(commands, list) or not commands:
            return _refused(400, "No commands")
        if len(commands) > MAX_COMMANDS:
            return _refused(400, f"{len(commands)} commands, at most {MAX_COMMANDS} are allowed")
        if not all(isinstance(command, dict) for command in commands):
            return _refused(400, "Invalid JSON")
        try:
            raws = [orjson.dumps(command) for command in exact["commands"]]
        except orjson.JSONEncodeError:
            return _refused(400, "Invalid JSON")

        results: list[Result] = []
        accepted: list[Accepted] = []
        for index, (command, raw) in enumerate(zip(commands, raws, strict=True)):
            errors = self._problems(command, raw)
            if not errors and request.refuses(index):
                errors = ["sandbox: refused by the partial switch"]
            result: Result = {"success": False, "errors": errors} if errors else {"success": True}
            if not errors and command["name"] == "system/time":
                result["time"] = now.timestamp()
            elif not errors:
                duplicate = command["name"] == "customers/events" and self._is_duplicate(
                    command["data"], exact["commands"][index]["data"], now
                )
                accepted.append(Accepted(raw, duplicate=duplicate))
            if "command_id" in command:
                result["command_id"] = command["command_id"]
            results.append(result)
        if self._shuffle_results:
            results = results[1:] + results[:1]
        start = now.timestamp()
        end = start + time.perf_counter() - started
        content = {"results": results, "start_time": start, "end_time": end, "success": True}
        return Answer(self.success, orjson.dumps(content), accepted=accepted)

    def refuse(self, _request: Request, status: int) -> Answer:
        """In: a request and an HTTP status. Out: the documents' answer to the whole request; nothing is taken."""
        if status in (401, 403):
            return _no_access(status, "access key not found" if status == 401 else "invalid secret")
        what = {
            400: "Invalid JSON",
            404: "The requested URL was not found on the server",
            429: "Too many requests",
            500: "API is unavailable",
        }.get(status, "Service unavailable")
        return _refused(status, what)

    def lines(self, number: int, accepted: Accepted) -> Iterator[bytes]:
        """In: a request's number and a command. Out: one line; the command's numbers have the digits they came with."""
        yield orjson.dumps(
            {
                "provider": self.name,
                "request": number,
                "duplicate": accepted.duplicate,
                "command": orjson.Fragment(accepted.raw),
            }
        )

    def _problems(self, command: dict[str, Any], raw: bytes) -> list[str]:
        """Batch commands, Commands object attributes. Out: what is wrong with one command, or nothing."""
        name = command.get("name")
        if "command_id" in command and not isinstance(command["command_id"], str):
            return ["Field 'command_id' must be a string."]
        if "name" not in command:
            return ["Field 'name' is required."]
        if name == "system/time":
            return []
        if name not in ("customers", "customers/events"):
            return [f"Unknown command: {str(name)[:80]}."]
        if len(raw) >= COMMAND_BYTES:
            return ["Command must be less than 800 KBytes."]
        data = command.get("data")
        if not isinstance(data, dict):
            return ["Field 'data' is required."]

        problems = _id_problems(data.get("customer_ids"))
        if name == "customers/events":
            if not data.get("event_type"):
                problems.append("Field 'event_type' is required.")
            elif not isinstance(data["event_type"], str):
                problems.append("Field 'event_type' must be a string.")
            if "timestamp" in data and not _good_timestamp(data["timestamp"]):
                problems.append("Field 'timestamp' must be a UNIX timestamp in seconds or ISO 8601.")
        elif "update_timestamp" in data and type(data["update_timestamp"]) not in (int, float):
            problems.append("Field 'update_timestamp' must be a number.")
        properties = data.get("properties", {})
        if not isinstance(properties, dict):
            problems.append("Field 'properties' must be an object.")
        elif not properties and not self._empty_properties:
            problems.append("At least one property should be specified.")
        elif len(raw) >= VALUE_BYTES:
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
        timestamp = orjson.dumps(exact["timestamp"]).decode() if "timestamp" in exact else repr(now.timestamp())
        content = [data["customer_ids"], data["event_type"], timestamp, data.get("properties", {})]
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
