"""Appizer as its documents describe it: Batch Track, Rate Limits and Error Codes."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.sandbox.calls import APPIZER, BEARER, appizer_events, post, post_appizer
from tests.sandbox.test_faults import exchange
from tests.support.sandbox import RunningSandbox, sandbox

# Batch Track, Request Body: the example, but for the line breaks.
EXAMPLE = """{"events": [
{"event_name": "page_view", "user_id": "user_123", "properties": {"page": "/dashboard"}, "ip": "192.168.1.1",
"ua": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36"},
{"event_name": "button_click", "user_id": "user_123", "properties": {"button_id": "cta_button"}}]}"""
NOON = 1344772800


@pytest.fixture(autouse=True)
def noon(running: RunningSandbox) -> None:
    running.clock("2012-08-12T12:00:00")


def test_the_documents_example_is_taken(running: RunningSandbox) -> None:
    answer = post_appizer(running, EXAMPLE)
    assert answer.status_code == 200
    assert answer.json() == {"success": True, "processed_count": 2, "message": "Batch events tracked successfully"}
    assert running.received("appizer") == [
        {"provider": "appizer", "request": 1, "api_key": "sandbox-appizer-key", "event": event}
        for event in json.loads(EXAMPLE)["events"]
    ]


@pytest.mark.parametrize(
    ("headers", "code", "message"),
    [
        ({}, "MISSING_AUTH", "Missing Authorization header"),
        ({"Authorization": "Bearer other"}, "INVALID_API_KEY", "Invalid API key"),
        ({"Authorization": "sandbox-appizer-key"}, "INVALID_API_KEY", "Invalid API key"),
        ({"Authorization": "Basic sandbox-appizer-key"}, "INVALID_API_KEY", "Invalid API key"),
    ],
)
def test_a_wrong_or_missing_key_is_refused(
    running: RunningSandbox, headers: dict[str, str], code: str, message: str
) -> None:
    answer = post(running, APPIZER, appizer_events(), headers)
    assert answer.status_code == 401
    assert answer.json() == {"error": "Unauthorized", "message": message, "code": code}
    assert running.received() == []


def test_unknown_routes_are_not_found(running: RunningSandbox) -> None:
    assert post(running, "/v1/other", appizer_events(), BEARER).json()["error"] == "Not Found"
    assert post(running, f"{APPIZER}/", appizer_events(), BEARER).status_code == 404
    assert httpx.get(running.url + APPIZER, headers=BEARER).status_code == 404


def test_what_the_documents_allow_is_taken(running: RunningSandbox) -> None:
    fields = {"properties": {"n": 1, "nested": {"a": [None]}}, "ip": "::1", "ua": ""}
    assert post_appizer(running, appizer_events(100, **fields)).json()["processed_count"] == 100
    assert post_appizer(running, appizer_events(properties={})).json()["processed_count"] == 1
    assert running.state()["events"]["appizer"] == 101


def bad(code: str, details: dict[str, str] | None, message: str) -> dict[str, Any]:
    return {"error": "Bad Request", "message": message, "code": code, **({"details": details} if details else {})}


def invalid(field: str, issue: str) -> dict[str, Any]:
    return bad("INVALID_REQUEST", {"field": field, "issue": issue}, "Invalid request body")


def missing(field: str) -> dict[str, Any]:
    return bad("MISSING_FIELD", None, f"Missing required field: {field}")


def wrong_type(field: str, expected: str, received: str) -> dict[str, Any]:
    return bad("INVALID_TYPE", {"field": field, "expected": expected, "received": received}, "Invalid field type")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([], wrong_type("body", "object", "array")),
        ({}, missing("events")),
        ({"events": {}}, wrong_type("events", "array", "object")),
        ({"events": []}, invalid("events", "At least 1 event is required")),
        (appizer_events(101), invalid("events", "Too many events: 101, at most 100")),
        ({**appizer_events(), "async": True}, invalid("async", "Unknown field")),
        ({"events": ["page_view"]}, wrong_type("events", "object", "string")),
        ({"events": [{"user_id": "u"}]}, missing("event_name")),
        ({"events": [{"event_name": "e"}]}, missing("user_id")),
        (appizer_events(user_id=""), invalid("user_id", "Field is required")),
        (appizer_events(user_id=5), wrong_type("user_id", "string", "number")),
        (appizer_events(properties="p"), wrong_type("properties", "object", "string")),
        (appizer_events(properties=None), wrong_type("properties", "object", "null")),
        (appizer_events(ip=1.5), wrong_type("ip", "string", "number")),
        (appizer_events(ua=True), wrong_type("ua", "string", "boolean")),
        (appizer_events(timestamp="2012-08-12T12:00:00Z"), invalid("timestamp", "Unknown field")),
    ],
)
def test_a_bad_body_is_refused_as_a_whole(running: RunningSandbox, body: Any, expected: dict[str, Any]) -> None:
    if isinstance(body, dict) and isinstance(body.get("events"), list) and len(body["events"]) == 1:
        body = body | {"events": [*appizer_events()["events"], *body["events"]]}
    answer = post_appizer(running, body)
    assert (answer.status_code, answer.json()) == (400, expected)
    assert running.received() == []


@pytest.mark.parametrize("body", ["", "{", '{"events": [{"event_name": NaN}]}', "[" * 500 + "]" * 500])
def test_what_is_not_json_is_refused(running: RunningSandbox, body: str) -> None:
    answer = post_appizer(running, body)
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "body")


def test_the_content_type_is_required(running: RunningSandbox) -> None:
    answer = post(running, APPIZER, appizer_events(), BEARER | {"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "Content-Type")


def test_numbers_keep_their_digits(running: RunningSandbox) -> None:
    event = '{"event_name":"e","user_id":"00123","properties":{"n":12.10,"big":9007199254740993}}'
    post_appizer(running, '{"events":[%s]}' % event)
    assert event in httpx.get(f"{running.url}/_sandbox/received").text


def test_a_short_count_leaves_one_event_out_and_still_says_success(running: RunningSandbox) -> None:
    running.faults([{"kind": "short"}])
    counts = [post_appizer(running, appizer_events(count)).json() for count in (1, 5)]
    assert [(count["success"], count["processed_count"]) for count in counts] == [(True, 0), (True, 4)]
    assert [line["event"]["event_name"] for line in running.received()] == ["e0", "e1", "e3", "e4"]


def test_more_than_100_requests_a_minute_are_refused(running: RunningSandbox) -> None:
    first = post_appizer(running, appizer_events())
    running.advance(14.5)
    others = [post_appizer(running, appizer_events()) for _ in range(99)]
    assert {answer.status_code for answer in (first, *others)} == {200}
    refused = post_appizer(running, appizer_events())
    assert (refused.status_code, refused.json()) == (
        429,
        {
            "error": "Too Many Requests",
            "message": "Rate limit exceeded",
            "code": "RATE_LIMIT_EXCEEDED",
            "details": {"limit": 100, "window": "1 minute", "retry_after": 46},
        },
    )
    assert "Retry-After" not in refused.headers
    told = [
        [int(answer.headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset")]
        for answer in (first, others[-1], refused)
    ]
    assert told == [[100, 99, NOON + 60], [100, 0, NOON + 60], [100, 0, NOON + 60]]
    running.advance(45)
    assert post_appizer(running, appizer_events()).json()["details"]["retry_after"] == 1
    running.advance(0.5)
    assert post_appizer(running, appizer_events()).headers["X-RateLimit-Remaining"] == "99"
    assert running.state()["events"]["appizer"] == 101


def test_every_request_of_a_known_key_counts_for_that_key(running: RunningSandbox) -> None:
    for _ in range(100):
        assert post_appizer(running, {"events": []}).status_code == 400
        post(running, APPIZER, appizer_events(), {"Authorization": "Bearer other"})
    assert post_appizer(running, appizer_events()).status_code == 429
    assert post(running, APPIZER, appizer_events(), {"Authorization": "Bearer sandbox-appizer-key-2"}).is_success


def test_a_clock_that_is_set_back_begins_another_minute(running: RunningSandbox) -> None:
    for _ in range(101):
        answer = post_appizer(running, appizer_events())
    assert answer.status_code == 429
    running.advance(-1)
    assert post_appizer(running, appizer_events()).status_code == 200


def many(count: int) -> bytes:
    body = json.dumps(appizer_events()).encode()
    head = f"POST {APPIZER} HTTP/1.1\r\nHost: a\r\nAuthorization: {BEARER['Authorization']}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    one, last = (f"{head}{more}\r\n".encode() + body for more in ("", "Connection: close\r\n"))
    return one * (count - 1) + last


def test_an_hour_of_the_limit_can_be_played(running: RunningSandbox) -> None:
    for _ in range(60):
        answers = exchange(running, many(102))
        assert (answers.count(b"HTTP/1.1 200"), answers.count(b"HTTP/1.1 429")) == (100, 2)
        running.advance(60)
    assert running.state()["events"]["appizer"] == 6000


def test_the_limit_is_a_switch() -> None:
    with sandbox("--appizer-unlimited") as running:
        assert exchange(running, many(250)).count(b"HTTP/1.1 200") == 250


def test_a_429_says_when_to_come_back_in_its_body_alone(running: RunningSandbox) -> None:
    running.faults([{"kind": "429", "first": 1, "retry_after": 7}, {"kind": "429"}])
    answers = [post_appizer(running, appizer_events()) for _ in range(2)]
    assert [answer.json()["details"]["retry_after"] for answer in answers] == [7, 1]
    assert all("Retry-After" not in answer.headers for answer in answers)
