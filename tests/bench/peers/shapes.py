"""The providers' shapes, as a script would write them: a row (names → values) becomes an event, events become a body.

Values are texts, as a CSV gives them, or typed, as Parquet and a database do.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """`size`: events a call. `event`: a row and its number from 1 → an event. `body`: events → what is dumped.
    `check`: an answer's JSON and how many events it is about; raises AssertionError unless all were taken."""

    size: int
    path: str
    headers: dict[str, str]
    event: Callable[[Row, int], Any]
    body: Callable[[list[Any]], object]
    check: Callable[[Any, int], None]


def dumps(body: object) -> bytes:
    """Compact JSON."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def iso(time: Any) -> str:
    """A time as ISO 8601 text; it has no zone."""
    return time.replace(" ", "T") if type(time) is str else time.isoformat()


def seconds(time: Any) -> int:
    """Seconds since 1970 of a time in UTC."""
    return int((datetime.fromisoformat(time) if type(time) is str else time).replace(tzinfo=UTC).timestamp())


def _batch_event(row: Row, _: int) -> tuple[str, Row]:
    event: Row = {"name": "ue." + row["event"], "time": iso(row["occurred_at"])}
    if row["label"]:
        event["label"] = row["label"]
    attributes: Row = {
        "product": row["product"],
        "amount": float(row["amount"]),
        "quantity": int(row["quantity"]),
    }
    if row["channel"]:
        attributes["channel"] = row["channel"]
    attributes["date(ordered_at)"] = iso(row["ordered_at"])
    event["attributes"] = attributes
    if row["tags"]:
        event["tags"] = row["tags"].split("|")
    return row["user_id"], event


def _batch_body(events: list[tuple[str, Row]]) -> object:
    users: dict[str, list[Row]] = {}
    for user, event in events:
        users.setdefault(user, []).append(event)
    return [{"id": user, "events": of_user} for user, of_user in users.items()]


def _batch_check(answer: Any, _: int) -> None:
    assert answer["token"]


def _properties(row: Row, time: Callable[[Any], object]) -> Row:
    properties: Row = {
        "product": row["product"],
        "amount": float(row["amount"]),
        "quantity": int(row["quantity"]),
    }
    if row["channel"]:
        properties["channel"] = row["channel"]
    properties["ordered_at"] = time(row["ordered_at"])
    if row["label"]:
        properties["label"] = row["label"]
    return properties


def _zulu(time: Any) -> str:
    return iso(time) + "Z"


def _bloomreach_event(row: Row, number: int) -> Row:
    properties = _properties(row, seconds)
    if row["tags"]:
        properties["tags"] = row["tags"].split("|")
    data = {
        "customer_ids": {"registered": row["user_id"]},
        "event_type": row["event"],
        "timestamp": seconds(row["occurred_at"]),
        "properties": properties,
    }
    return {"name": "customers/events", "data": data, "command_id": str(number)}


def _bloomreach_body(events: list[Row]) -> object:
    return {"commands": events}


def _bloomreach_check(answer: Any, count: int) -> None:
    assert [result["success"] for result in answer["results"]] == [True] * count


def _appizer_event(row: Row, _: int) -> Row:
    properties = _properties(row, _zulu)
    if row["tags"]:
        properties["tags"] = row["tags"].split("|")
    return {"event_name": row["event"], "user_id": row["user_id"], "properties": properties}


def _appizer_body(events: list[Row]) -> object:
    return {"events": events}


def _appizer_check(answer: Any, count: int) -> None:
    assert answer["success"] is True
    assert answer["processed_count"] == count


def _pushengage_event(row: Row, _: int) -> Row:
    data = _properties(row, _zulu)
    if row["tags"]:
        data["tags"] = row["tags"]
    return {"event_name": row["event"], "profile_id": row["user_id"], "data": data}


def _pushengage_body(events: list[Row]) -> object:
    return events[0]


def _pushengage_check(answer: Any, _: int) -> None:
    assert answer["error_code"] == 0


_JSON = {"Content-Type": "application/json"}

SHAPES = {
    "batch": Shape(
        1000, "/1.0/key/events/users", {**_JSON, "X-Authorization": "rest-key"}, _batch_event, _batch_body, _batch_check
    ),
    "appizer": Shape(
        100, "/v1/events/batch", {**_JSON, "Authorization": "Bearer key"}, _appizer_event, _appizer_body, _appizer_check
    ),
    "bloomreach": Shape(
        50,
        "/track/v2/projects/project/batch",
        {**_JSON, "Authorization": "Token token"},
        _bloomreach_event,
        _bloomreach_body,
        _bloomreach_check,
    ),
    "pushengage": Shape(
        1, "/api/v1/events", {**_JSON, "Api-Key": "key"}, _pushengage_event, _pushengage_body, _pushengage_check
    ),
}
