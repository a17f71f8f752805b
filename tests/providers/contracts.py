"""What each provider's documents answer, as data for the conformance suite: one `Contract` for each route."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from loader.providers.base import Answer


def answer(status: int, body: Any, **headers: str) -> Answer:
    """An answer with `body` as JSON, or as it is where it is bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


@dataclass(frozen=True)
class Contract:
    """The documents' answers of one route.

    `settings`: credentials, each a text of its own. `taken`: rows → the answer that takes all of them. `failure`:
    status → the body of the documents' own error. `refusing`: rows and positions → the answer that takes all but those;
    None where a call is taken as a whole.
    """

    settings: dict[str, str]
    taken: Callable[[Sequence[int]], Answer]
    failure: Callable[[int], Any]
    refusing: Callable[[Sequence[int], Collection[int]], Answer] | None = None


def _batch_failure(status: int) -> dict[str, Any]:
    codes = {
        401: (10, "AUTHENTICATION_INVALID"),
        403: (12, "API_MISUSE"),
        404: (20, "ROUTE_NOT_FOUND"),
        400: (31, "MALFORMED_PARAMETER"),
        500: (1, "SERVER_ERROR"),
        503: (2, "MAINTENANCE_ERROR"),
        429: (60, "TOO_MANY_REQUESTS"),
    }
    code, message = codes[status]
    return {"code": code, "message": message}


def _appizer_failure(status: int) -> dict[str, Any]:
    codes = {401: "INVALID_API_KEY", 403: "INSUFFICIENT_PERMISSIONS", 400: "MISSING_FIELD", 429: "RATE_LIMIT_EXCEEDED"}
    details = {"limit": 100, "window": "1m", "retry_after": 30} if status == 429 else {}
    return {"error": "error", "message": "in words", "code": codes.get(status, "ERROR"), "details": details}


def _pushengage_failure(status: int) -> dict[str, Any]:
    codes = {400: 1003, 401: 401000, 500: 1001}
    return {"error": {"message": "in words", "code": codes.get(status, status)}}


def _results(rows: Sequence[int], refused: Collection[int] = ()) -> Answer:
    results = [
        {"success": False, "errors": ["no"], "command_id": str(row)}
        if at in refused
        else {"success": True, "command_id": str(row)}
        for at, row in enumerate(rows)
    ]
    # Their order is not promised.
    return answer(200, {"results": results[::-1], "start_time": 1.5, "end_time": 2.5, "success": True})


_BATCH = Contract(
    {"api_key": "batch-app-key", "rest_api_key": "batch-rest-key"},
    lambda _rows: answer(201, {"token": "110e8400-e29b-11d4-b543-446655440000"}),
    _batch_failure,
)
_BLOOMREACH_SETTINGS = {"project_token": "bl-project", "api_key_id": "bl-key-id", "api_secret": "bl-secret"}

CONTRACTS: dict[tuple[str, str], Contract] = {
    ("batch", "bulk"): _BATCH,
    ("batch", "single"): _BATCH,
    ("appizer", "batch"): Contract(
        {"api_key": "appizer-key"},
        lambda rows: answer(200, {"success": True, "processed_count": len(rows), "message": "in words"}),
        _appizer_failure,
    ),
    ("bloomreach", "batch"): Contract(
        _BLOOMREACH_SETTINGS, _results, lambda _status: {"success": False, "errors": ["in words"]}, _results
    ),
    ("bloomreach", "single"): Contract(
        _BLOOMREACH_SETTINGS,
        lambda _rows: answer(200, {"errors": [], "success": True}),
        lambda _status: {"success": False, "errors": "in words"},
    ),
    ("pushengage", "single"): Contract(
        {"api_key": "pushengage-key"}, lambda _rows: answer(200, {"error_code": 0, "data": {}}), _pushengage_failure
    ),
}
