"""PushEngage as its document describes it: Track Event."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.sandbox.calls import API_KEY, PUSHENGAGE, post, post_pushengage, push_event
from tests.support.sandbox import RunningSandbox

# Track Event, Example: the request's body.
EXAMPLE = {
    "event_name": "add_to_cart",
    "device_token_hash": "DEVICE_TOKEN_HASH",
    "profile_id": "PROFILE_ID",
    "data": {"product_name": "Running Shoes", "price": 99.99},
}


def test_the_documents_example_is_taken_and_its_profile_id_counts(running: RunningSandbox) -> None:
    answer = post_pushengage(running, EXAMPLE)
    assert (answer.status_code, answer.json()) == (200, {"error_code": 0, "data": {}})
    assert running.received("pushengage") == [
        {"provider": "pushengage", "request": 1, "profile_id": "PROFILE_ID", "event": EXAMPLE}
    ]


def test_a_device_token_hash_alone_is_enough(running: RunningSandbox) -> None:
    event = {"event_name": "e", "device_token_hash": "d"}
    assert post_pushengage(running, event).json()["error_code"] == 0
    (line,) = running.received()
    assert (line["device_token_hash"], line["event"]) == ("d", event)
    assert "profile_id" not in line


@pytest.mark.parametrize(
    ("headers", "code", "message"),
    [
        ({}, 401002, "API key is required. Please provide a valid API key in the API-KEY header."),
        ({"Api-Key": ""}, 401002, "API key is required. Please provide a valid API key in the API-KEY header."),
        ({"Api-Key": "no"}, 401000, "Invalid API key. The provided API key was not found or is incorrect."),
    ],
)
def test_a_wrong_or_missing_key_is_refused(
    running: RunningSandbox, headers: dict[str, str], code: int, message: str
) -> None:
    answer = post(running, PUSHENGAGE, push_event(), headers)
    assert (answer.status_code, answer.json()) == (401, {"error": {"message": message, "code": code}})
    assert running.received() == []


def test_unknown_routes_are_not_found(running: RunningSandbox) -> None:
    for answer in (
        post(running, f"{PUSHENGAGE}/batch", push_event(), API_KEY),
        httpx.get(running.url + PUSHENGAGE, headers=API_KEY),
    ):
        assert (answer.status_code, answer.json().keys()) == (404, {"error"})


@pytest.mark.parametrize(
    "fields",
    [
        {"event_name": "é" * 64},
        {"event_name": "PushEngage"},
        {"event_name": "pushengage.x"},
        {"event_name": "My PushEngage.x"},
        {"data": {}},
        {"data": {"a": "", "0": 1, "a-b_C9": 1.5, "k" * 255: False, "at": "2012-08-12T23:00:00Z"}},
        {"data": {"v": "x" * (4096 - len('{"v":""}'))}},
        {"data": {"v": "é" * ((4096 - len('{"v":""}')) // 2)}},
    ],
)
def test_what_the_document_allows_is_taken(running: RunningSandbox, fields: dict[str, Any]) -> None:
    assert post_pushengage(running, push_event(**fields)).json() == {"error_code": 0, "data": {}}
    assert running.received()[0]["event"] == push_event(**fields)


def test_the_size_of_data_is_that_of_its_compact_json(running: RunningSandbox) -> None:
    body = '{"event_name": "e", "profile_id": "p", "data": {' + " " * 5000 + '"v": 1}}'
    assert post_pushengage(running, body).status_code == 200


NAME, PROFILE, DATA = ["event_name"], ["profile_id"], ["data"]


@pytest.mark.parametrize(
    ("event", "paths"),
    [
        ({"profile_id": "p"}, [NAME]),
        (push_event(event_name=""), [NAME]),
        (push_event(event_name=None), [NAME]),
        (push_event(event_name=5), [NAME]),
        (push_event(event_name="e" * 65), [NAME]),
        (push_event(event_name="PushEngage.x"), [NAME]),
        ({"event_name": "e"}, [PROFILE]),
        (push_event(profile_id=""), [PROFILE]),
        (push_event(profile_id=5), [PROFILE]),
        (push_event(device_token_hash=None), [["device_token_hash"]]),
        (push_event(data=[]), [DATA]),
        (push_event(data=None), [DATA]),
        (push_event(data={"": 1}), [["data", ""]]),
        (push_event(data={"_a": 1, "-b": 2}), [["data", "_a"], ["data", "-b"]]),
        (push_event(data={"a b": 1}), [["data", "a b"]]),
        (push_event(data={"é": 1}), [["data", "é"]]),
        (push_event(data={"k" * 256: 1}), [["data", "k" * 80]]),
        (push_event(data={"a": None}), [["data", "a"]]),
        (push_event(data={"a": [1]}), [["data", "a"]]),
        (push_event(data={"a": {"b": 1}}), [["data", "a"]]),
        (push_event(data={"v": "x" * (4096 - len('{"v":""}') + 1)}), [DATA]),
        (push_event(data={"v": "é" * 2045}), [DATA]),
        (push_event(timestamp=1), [["timestamp"]]),
        ({}, [NAME, PROFILE]),
    ],
)
def test_an_invalid_event_is_told_where(running: RunningSandbox, event: Any, paths: list[list[str]]) -> None:
    answer = post_pushengage(running, event)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["message"], error["code"]) == ("Invalid data", 1003)
    assert [detail["path"] for detail in error["details"]] == paths
    assert all(detail["message"] for detail in error["details"])
    assert running.received() == []


def test_a_missing_name_is_said_in_the_documents_words(running: RunningSandbox) -> None:
    assert post_pushengage(running, {"profile_id": "p"}).json() == {
        "error": {
            "message": "Invalid data",
            "code": 1003,
            "details": [{"message": "event_name is required", "path": ["event_name"]}],
        }
    }


@pytest.mark.parametrize("body", ["", "{", "[]", "5", '{"data": {"a": NaN}}', "[" * 500 + "]" * 500])
def test_what_is_no_json_object_is_refused(running: RunningSandbox, body: str) -> None:
    answer = post_pushengage(running, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 1003)


def test_the_content_type_is_required(running: RunningSandbox) -> None:
    answer = post(running, PUSHENGAGE, push_event(), API_KEY | {"Content-Type": "text/plain"})
    assert answer.status_code == 400


def test_numbers_keep_their_digits(running: RunningSandbox) -> None:
    event = '{"event_name":"e","profile_id":"00123","data":{"n":12.10,"big":9007199254740993}}'
    post_pushengage(running, event)
    assert event in httpx.get(f"{running.url}/_sandbox/received").text


@pytest.mark.parametrize(("status", "code"), [(400, 1003), (401, 401000), (500, 1001)])
def test_faults_have_the_documents_numbers(running: RunningSandbox, status: int, code: int) -> None:
    running.faults([{"kind": str(status)}])
    answer = post_pushengage(running, push_event())
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
