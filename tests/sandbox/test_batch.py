"""Batch as its documents describe it: Trigger Events API, POST track events and Parameters."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest

from tests.sandbox.calls import BATCH_EXAMPLE, BULK, NOW, REST_KEY, SINGLE, post, post_batch, users
from tests.support.sandbox import RunningSandbox, sandbox


def assert_refused(answer: httpx.Response, status: int, code: int, name: str) -> None:
    assert answer.status_code == status
    assert answer.json().keys() == {"code", "message"}
    assert answer.json()["code"] == code
    assert answer.json()["message"].startswith(f"{name}: ")


def test_the_documents_example_is_taken_and_its_token_is_a_uuid() -> None:
    with sandbox("--clock", NOW) as running:
        answer = post_batch(running, BATCH_EXAMPLE)
        assert answer.status_code == 201
        assert answer.json().keys() == {"token"}
        token = answer.json()["token"]
        assert str(uuid.UUID(token)) == token
        expected = [
            {"provider": "batch", "request": 1, "api_key": "sandbox-api-key", "token": token, "user": user["id"],
             "event": event}
            for user in json.loads(BATCH_EXAMPLE)
            for event in user["events"]
        ]  # fmt: skip
        assert running.received("batch") == expected


def test_the_documents_example_is_too_old_for_the_real_clock(running: RunningSandbox) -> None:
    running.clock(None)
    assert_refused(post_batch(running, BATCH_EXAMPLE), 400, 31, "MALFORMED_PARAMETER")


def test_the_24_hours_move_with_the_clock(running: RunningSandbox) -> None:
    for path, body in ((BULK, users(time=NOW)), (SINGLE, {"events": users(time=NOW)[0]["events"]})):
        running.clock("2012-08-12T22:59:59")
        statuses = [post_batch(running, body, path).status_code]
        for seconds in (1, 24 * 3600, 1):
            running.advance(seconds)
            statuses.append(post_batch(running, body, path).status_code)
        assert statuses == [400, 201, 201, 400]


def test_any_time_is_taken_with_the_switch() -> None:
    with sandbox("--batch-time", "any") as running:
        assert post_batch(running, BATCH_EXAMPLE).status_code == 201
        assert post_batch(running, users(time="2999-01-01T00:00:00")).status_code == 201
        assert post_batch(running, users(time="2012-08-12 22:30:05")).status_code == 400


GOOD: list[dict[str, Any]] = [
    {},
    {"time": "2012-08-12T23:00:00"},
    {"time": "2012-08-11T23:00:00"},
    {"label": "é" * 200},
    {"label": ""},
    {"attributes": {}},
    {"attributes": {f"k{n}": n for n in range(15)}},
    {"attributes": {"k" * 30: "v" * 64, "text": "é" * 64, "i": 12, "f": 12.0, "b": True}},
    {"attributes": {f"date({'d' * 30})": 1344810605, "date(e)": "2021-08-12T22:30:05.000"}},
    {"tags": ["t" * 64] * 10},
]


@pytest.mark.parametrize("fields", GOOD)
def test_what_the_limits_allow_is_taken(running: RunningSandbox, fields: dict[str, Any]) -> None:
    assert post_batch(running, users(**fields)).status_code == 201
    assert running.received("batch")[0]["event"] == {"name": "ue.bought", **fields}


BAD: list[dict[str, Any]] = [
    {"name": "bought"},
    {"name": "ue."},
    {"name": "ue." + "n" * 31},
    {"name": "ue.Bought"},
    {"name": "ue.bought\n"},
    {"name": None},
    {"time": "2012-08-12T23:00:01"},
    {"time": "2012-08-11T22:59:59"},
    {"time": "2012-08-12T22:30:05Z"},
    {"time": "2012-08-12T22:30:05.000"},
    {"time": "2012-08-12 22:30:05"},
    {"time": "2012-08-12T22:30"},
    {"time": "2012-08-12T22:60:00"},
    {"time": "2012-W32-7T22:30:05"},
    {"time": 1344810605},
    {"time": None},
    {"label": "l" * 201},
    {"label": 5},
    {"label": None},
    {"attributes": []},
    {"attributes": {f"k{n}": n for n in range(16)}},
    {"attributes": {"k" * 31: 1}},
    {"attributes": {"Key": 1}},
    {"attributes": {"": 1}},
    {"attributes": {"url(k)": "https://example.com"}},
    {"attributes": {"k": "v" * 65}},
    {"attributes": {"k": {"a": 1}}},
    {"attributes": {"k": ["a"]}},
    {"attributes": {"k": None}},
    {"attributes": {"date(k)": "tomorrow"}},
    {"attributes": {"date(k)": "2021-08-12T22:30:05Z"}},
    {"attributes": {"date(k)": True}},
    {"attributes": {f"date({'d' * 31})": 1}},
    {"tags": "sale"},
    {"tags": ["t"] * 11},
    {"tags": ["t" * 65]},
    {"tags": [5]},
    {"properties": {"k": 1}},
]


@pytest.mark.parametrize("fields", BAD)
def test_one_bad_event_refuses_the_whole_request(running: RunningSandbox, fields: dict[str, Any]) -> None:
    body = [{"id": "claire", "events": [{"name": "ue.bought"}]}, *users(**fields)]
    answer = post_batch(running, body)
    assert_refused(answer, 400, 31, "MALFORMED_PARAMETER")
    assert "[1].events[0]" in answer.json()["message"]
    assert running.received("batch") == []


EVENT = {"name": "ue.bought"}


# Batch, POST - Track events, Single upload: the example as it is printed, but for the line breaks.
SINGLE_EXAMPLE = """{"events": [{"name": "ue.added_to_cart", "time": "2012-08-12T22:30:05", "label": "shoes",
"attributes": {"id": "00-00-xxx-xxx", "sub_category": "boots", "date(promo_ends)": "2021-08-12T22:30:05"},
"tags": ["private-sales", "summer-discount"]}]}"""


def test_the_documents_example_of_a_single_upload_is_taken(running: RunningSandbox) -> None:
    answer = post_batch(running, SINGLE_EXAMPLE, SINGLE)
    assert (answer.status_code, list(answer.json())) == (201, ["token"])
    (line,) = running.received("batch")
    assert line == {
        "provider": "batch", "request": 1, "api_key": "sandbox-api-key", "token": answer.json()["token"],
        "user": "vincent", "event": json.loads(SINGLE_EXAMPLE)["events"][0],
    }  # fmt: skip


def post_single(running: RunningSandbox, segment: str, body: Any) -> httpx.Response:
    """Post to the single route with this last segment of the path, as it is written."""
    target = f"{BULK}/{segment}".encode()
    with httpx.Client(verify=False) as client:
        return client.post(running.url, json=body, headers=REST_KEY, extensions={"target": target})


@pytest.mark.parametrize(
    ("segment", "user"),
    [
        ("a%2Fb%3Fc%23d", "a/b?c#d"),
        ("%C3%A9%20%2B+", "é ++"),
        ("%25C3", "%C3"),
        ("a;b=c,d:e@f!$&'()*", "a;b=c,d:e@f!$&'()*"),
        ("00123", "00123"),
        ("...", "..."),
        ("i" * 1024, "i" * 1024),
    ],
)
def test_the_id_in_the_path_is_one_percent_encoded_segment(running: RunningSandbox, segment: str, user: str) -> None:
    assert post_single(running, segment, {"events": [EVENT]}).status_code == 201
    assert [line["user"] for line in running.received()] == [user]


@pytest.mark.parametrize(
    ("segment", "code"),
    [(".", 20), ("..", 20), ("%2E", 20), ("%2e%2e", 20), ("", 20), ("a/b", 20), ("%FF", 31), ("i" * 1025, 31)],
)
def test_what_is_no_id_in_the_path_is_refused(running: RunningSandbox, segment: str, code: int) -> None:
    assert post_single(running, segment, {"events": [EVENT]}).json()["code"] == code
    assert running.received() == []


@pytest.mark.parametrize("fields", BAD)
def test_the_rules_of_an_event_hold_on_the_single_route(running: RunningSandbox, fields: dict[str, Any]) -> None:
    answer = post_batch(running, {"events": [EVENT, {**EVENT, **fields}]}, SINGLE)
    assert_refused(answer, 400, 31, "MALFORMED_PARAMETER")
    assert "PARAMETER: events[1]" in answer.json()["message"]
    assert running.received("batch") == []


@pytest.mark.parametrize(
    ("body", "code", "name"),
    [
        ("{", 32, "MALFORMED_JSON_BODY"),
        ([{"id": "vincent", "events": [EVENT]}], 31, "MALFORMED_PARAMETER"),
        ({}, 30, "MISSING_PARAMETER"),
        ({"events": []}, 30, "MISSING_PARAMETER"),
        ({"events": EVENT}, 31, "MALFORMED_PARAMETER"),
        ({"events": [{}]}, 30, "MISSING_PARAMETER"),
        ({"id": "vincent", "events": [EVENT]}, 31, "MALFORMED_PARAMETER"),
        ({"events": [EVENT] * 1001}, 31, "MALFORMED_PARAMETER"),
    ],
)
def test_a_single_upload_of_the_wrong_shape_is_refused(
    running: RunningSandbox, body: Any, code: int, name: str
) -> None:
    assert_refused(post_batch(running, body, SINGLE), 400, code, name)
    assert running.received() == []


def test_1000_events_of_one_user_are_allowed(running: RunningSandbox) -> None:
    assert post_batch(running, {"events": [EVENT] * 1000}, SINGLE).status_code == 201
    assert running.state()["events"]["batch"] == 1000


@pytest.mark.parametrize(
    ("body", "code", "name"),
    [
        ("", 32, "MALFORMED_JSON_BODY"),
        ('[{"id": "a", "events": [{"name": "ue.a"}]}', 32, "MALFORMED_JSON_BODY"),
        ('[{"id": "a", "events": [{"name": "ue.a", "attributes": {"k": NaN}}]}]', 32, "MALFORMED_JSON_BODY"),
        (b'[{"id": "\xff", "events": [{"name": "ue.a"}]}]', 32, "MALFORMED_JSON_BODY"),
        ({"events": [EVENT]}, 31, "MALFORMED_PARAMETER"),
        ([], 30, "MISSING_PARAMETER"),
        (["vincent"], 31, "MALFORMED_PARAMETER"),
        ([{"events": [EVENT]}], 30, "MISSING_PARAMETER"),
        ([{"id": "a"}], 30, "MISSING_PARAMETER"),
        ([{"id": "a", "events": []}], 30, "MISSING_PARAMETER"),
        ([{"id": "a", "events": [{}]}], 30, "MISSING_PARAMETER"),
        ([{"id": "a", "events": [{"label": "x"}]}], 30, "MISSING_PARAMETER"),
        ([{"id": "a", "events": ["ue.bought"]}], 31, "MALFORMED_PARAMETER"),
        ([{"id": "a", "events": EVENT}], 31, "MALFORMED_PARAMETER"),
        ([{"id": "", "events": [EVENT]}], 31, "MALFORMED_PARAMETER"),
        ([{"id": "i" * 1025, "events": [EVENT]}], 31, "MALFORMED_PARAMETER"),
        ([{"id": 5, "events": [EVENT]}], 31, "MALFORMED_PARAMETER"),
        ([{"id": None, "events": [EVENT]}], 31, "MALFORMED_PARAMETER"),
        ([{"id": "a", "events": [EVENT], "platform": "ios"}], 31, "MALFORMED_PARAMETER"),
        ([{"id": "a", "events": [EVENT]}, {"id": "a", "events": [EVENT]}], 31, "MALFORMED_PARAMETER"),
    ],
)
def test_a_body_of_the_wrong_shape_is_refused(running: RunningSandbox, body: Any, code: int, name: str) -> None:
    assert_refused(post_batch(running, body), 400, code, name)
    assert running.received() == []


def test_a_user_id_may_have_1024_characters(running: RunningSandbox) -> None:
    assert post_batch(running, [{"id": "i" * 1024, "events": [EVENT]}]).status_code == 201


def test_1000_events_are_counted_over_all_users(running: RunningSandbox) -> None:
    body = [{"id": "a", "events": [EVENT] * 600}, {"id": "b", "events": [EVENT] * 400}]
    assert post_batch(running, body).status_code == 201
    body[1]["events"] = [EVENT] * 401
    assert_refused(post_batch(running, body), 400, 31, "MALFORMED_PARAMETER")
    assert running.state()["events"]["batch"] == 1000


def test_a_wrong_or_missing_rest_key_is_refused(running: RunningSandbox) -> None:
    for headers in ({}, {"X-Authorization": "wrong"}, {"X-Authorization": "Bearer sandbox-rest-key"}):
        for path, body in ((BULK, users()), (SINGLE, {"events": [EVENT]})):
            assert_refused(post(running, path, body, headers), 401, 10, "AUTHENTICATION_INVALID")


@pytest.mark.parametrize(
    "path", ["/1.0/other-key/events/users", "/1.0/sandbox-api-key/events", "/1.0/", f"{BULK}/", f"{BULK}/a/b"]
)
def test_an_unknown_app_or_route_is_not_found(running: RunningSandbox, path: str) -> None:
    assert_refused(post(running, path, users(), REST_KEY), 404, 20, "ROUTE_NOT_FOUND")


def test_only_post_is_a_route(running: RunningSandbox) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert_refused(httpx.request(method, running.url + BULK, headers=REST_KEY), 404, 20, "ROUTE_NOT_FOUND")
    assert httpx.head(running.url + BULK, headers=REST_KEY).status_code == 404


def test_the_two_apps_are_kept_apart(running: RunningSandbox) -> None:
    assert post_batch(running, users()).status_code == 201
    assert post_batch(running, users(), "/1.0/sandbox-api-key-2/events/users").status_code == 201
    assert [line["api_key"] for line in running.received("batch")] == ["sandbox-api-key", "sandbox-api-key-2"]


def test_numbers_keep_their_digits(running: RunningSandbox) -> None:
    numbers = '{"price": 12.10, "big": 123456789012345678901234567890, "whole": 12.0, "e": 1E2}'
    body = '[{"id": "a", "events": [{"name": "ue.a", "attributes": %s}]}]' % numbers
    assert post_batch(running, body).status_code == 201
    line = httpx.get(running.url + "/_sandbox/received", params={"provider": "batch"}).text
    assert numbers.replace(" ", "") in line


def test_a_429_lasts_until_the_app_was_left_alone_for_five_seconds() -> None:
    second_app = BULK.replace("-key", "-key-2")
    with sandbox("--clock", NOW, "--batch-strict-429", "--fault", "429:at=2") as running:
        assert [post_batch(running, users()).status_code for _ in range(2)] == [201, 429]
        for _ in range(2):
            running.advance(4.9)
            assert_refused(post_batch(running, users()), 429, 60, "TOO_MANY_REQUESTS")
        assert post_batch(running, users(), second_app).status_code == 201
        running.advance(5)
        assert post_batch(running, users()).status_code == 201
        assert running.state()["events"]["batch"] == 3


def test_the_strict_429_is_a_switch() -> None:
    with sandbox("--clock", NOW, "--batch-strict-429", "--fault", "429:at=1") as running:
        assert [post_batch(running, users()).status_code for _ in range(2)] == [429, 429]
        assert running.state()["events"]["batch"] == 0
    with sandbox("--clock", NOW, "--fault", "429:at=1") as running:
        assert [post_batch(running, users()).status_code for _ in range(2)] == [429, 201]
