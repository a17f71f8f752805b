"""Bloomreach as its documents describe it: Batch commands, Add event, deduplication and error messages."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from loader.sandbox.bloomreach import MILLISECONDS
from tests.sandbox.calls import (
    BLOOMREACH_EXAMPLE,
    COMMANDS,
    CUSTOMERS,
    EVENTS,
    PROJECT,
    TOKEN,
    command,
    post,
    post_bloomreach,
    result_of,
)
from tests.support.sandbox import RunningSandbox, sandbox


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


def test_the_documents_example_is_taken(running: RunningSandbox) -> None:
    answer = post_bloomreach(running, BLOOMREACH_EXAMPLE)
    assert answer.status_code == 200
    content = answer.json()
    assert content.keys() == {"results", "start_time", "end_time", "success"}
    assert content["success"] is True
    assert content["end_time"] >= content["start_time"] == 1344812400.0
    assert content["results"] == [
        {"success": True, "time": 1344812400.0},
        {"success": True, "command_id": "abc"},
        {"success": True},
    ]
    commands = json.loads(BLOOMREACH_EXAMPLE)["commands"]
    assert running.received("bloomreach") == [
        {"provider": "bloomreach", "request": 1, "duplicate": False, "command": sent} for sent in commands[1:]
    ]
    assert running.state()["events"]["bloomreach"] == 2


def test_failed_commands_look_as_in_the_documents_example(running: RunningSandbox) -> None:
    first = command(customer_ids={}) | {"command_id": "my command 1"}
    second = command() | {"command_id": "my command 2"}
    del second["data"]["event_type"]
    answer = post_bloomreach(running, {"commands": [first, second, command()]})
    assert answer.status_code == 200
    assert answer.json()["success"] is True
    assert answer.json()["results"] == [
        {"success": False, "errors": ["At least one id should be specified."], "command_id": "my command 1"},
        {"success": False, "errors": ["Field 'event_type' is required."], "command_id": "my command 2"},
        {"success": True},
    ]
    assert len(running.received("bloomreach")) == 1


# A good body for each route.
BODIES: dict[str, Any] = {
    COMMANDS: {"commands": [command()]},
    EVENTS: command()["data"],
    CUSTOMERS: {"customer_ids": {"registered": "a"}, "properties": {"n": 1}},
}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("headers", [TOKEN, basic("sandbox-key-id:sandbox-secret")])
def test_both_kinds_of_access_are_accepted(running: RunningSandbox, headers: dict[str, str], path: str) -> None:
    assert post(running, path, BODIES[path], headers).json()["success"] is True
    assert len(running.received()) == 1


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ({}, 401, "access key not provided"),
        ({"Authorization": "sandbox-token"}, 401, "access key not provided"),
        ({"Authorization": "Bearer sandbox-token"}, 401, "access key not provided"),
        ({"Authorization": "Basic ***"}, 401, "access key not provided"),
        (basic("no colon"), 401, "access key not provided"),
        ({"Authorization": "Token other"}, 401, "access key not found"),
        (basic("other:sandbox-secret"), 401, "access key not found"),
        (basic("sandbox-key-id:other"), 403, "invalid secret"),
    ],
)
def test_wrong_access_is_refused(running: RunningSandbox, headers: dict[str, str], status: int, error: str) -> None:
    for path, body in BODIES.items():
        answer = post(running, path, body, headers)
        assert (answer.status_code, answer.json()) == (status, {"success": False, "error": error})
    assert running.received() == []


@pytest.mark.parametrize("path", BODIES)
def test_a_wrong_project_is_refused(running: RunningSandbox, path: str) -> None:
    answer = post(running, path.replace("sandbox-project", "other"), BODIES[path], TOKEN)
    assert (answer.status_code, answer.json()) == (400, {"success": False, "error": "Invalid project id"})


def test_unknown_routes_are_not_found(running: RunningSandbox) -> None:
    assert post(running, "/track/v2/projects/sandbox-project/other", {}, TOKEN).status_code == 404
    answer = httpx.get(running.url + COMMANDS, headers=TOKEN)
    assert answer.status_code == 404
    assert answer.json()["success"] is False


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "Invalid JSON"),
        ('{"commands": [', "Invalid JSON"),
        ('{"commands": [{"name": NaN}]}', "Invalid JSON"),
        ({"commands": [1, command()]}, "Invalid JSON"),
        ('{"commands": [{"name": ' + "[" * 500 + "]" * 500 + "}]}", "Invalid JSON"),
        ([], "No commands"),
        ({}, "No commands"),
        ({"commands": []}, "No commands"),
        ({"commands": {}}, "No commands"),
        ({"commands": [command()] * 51}, "51 commands, at most 50 are allowed"),
    ],
)
def test_a_body_of_the_wrong_shape_is_refused_as_a_whole(running: RunningSandbox, body: Any, message: str) -> None:
    answer = post_bloomreach(running, body)
    assert answer.status_code == 400
    assert answer.json() == {"success": False, "message": message, "errors": [message]}
    assert running.received() == []


def test_50_commands_are_allowed(running: RunningSandbox) -> None:
    answer = post_bloomreach(running, {"commands": [command(timestamp=n) for n in range(50)]})
    assert [result["success"] for result in answer.json()["results"]] == [True] * 50
    assert running.state()["events"]["bloomreach"] == 50


def test_the_content_type_is_required(running: RunningSandbox) -> None:
    body = json.dumps({"commands": [command()]})
    assert post(running, COMMANDS, body, TOKEN | {"Content-Type": "text/plain"}).status_code == 400
    assert post(running, COMMANDS, body, TOKEN | {"Content-Type": "application/json; charset=utf-8"}).status_code == 200


@pytest.mark.parametrize(
    "one",
    [
        command(customer_ids={"registered": "", "cookie": "abc"}),
        command(customer_ids={"registered": 5}),
        command(customer_ids={"loyalty_card": "0012", "crm": 5}),
        command(timestamp=-1.5),
        command(timestamp=None),
        command(timestamp="1344812400.25"),
        command(timestamp="2012-08-12T23:00:00Z"),
        command(timestamp="2012-08-12T23:00:00.123456"),
        command(timestamp=1344812400000),
        command(properties={"nested": {"a": [1, None]}}),
        {"name": "system/time"},
        {"name": "customers", "data": {"customer_ids": {"registered": "a"}, "properties": {"a": 1}}},
        {
            "name": "customers",
            "data": {"customer_ids": {"registered": "a"}, "properties": {"a": 1}, "update_timestamp": 1.5},
        },
    ],
)
def test_what_the_documents_allow_is_taken(running: RunningSandbox, one: dict[str, Any]) -> None:
    assert result_of(running, one)["success"] is True


@pytest.mark.parametrize(
    "one",
    [
        {"data": command()["data"]},
        command() | {"name": "customers/other"},
        command() | {"name": 5},
        command() | {"command_id": 5},
        {"name": "customers/events"},
        {"name": "customers/events", "data": []},
        command(customer_ids=None),
        command(customer_ids="a"),
        command(customer_ids={"registered": ""}),
        command(customer_ids={"registered": None}),
        command(customer_ids={"registered": "--"}),
        command(customer_ids={"registered": "null"}),
        command(customer_ids={"registered": "undefined"}),
        command(event_type=""),
        command(event_type=5),
        command(timestamp=True),
        command(timestamp="yesterday"),
        command(timestamp="2012-13-12T23:00:00"),
        command(timestamp="2012-08-12T23:00:00+02:00"),
        command(properties={}),
        command(properties=None),
        command(properties=[]),
        {"name": "customers", "data": {"customer_ids": {"registered": "a"}}},
        {"name": "customers", "data": {"properties": {"a": 1}}},
        {"name": "customers", "data": command()["data"] | {"update_timestamp": "1"}},
    ],
)
def test_a_bad_command_fails_alone(running: RunningSandbox, one: dict[str, Any]) -> None:
    bad, good = post_bloomreach(running, {"commands": [one, command()]}).json()["results"]
    assert bad["success"] is False
    assert bad["errors"]
    assert all(isinstance(error, str) for error in bad["errors"])
    assert good == {"success": True}
    assert [line["command"] for line in running.received("bloomreach")] == [command()]


def alone(running: RunningSandbox, one: dict[str, Any]) -> dict[str, Any]:
    """In: a command. Out: the answer to its `data`, sent alone by the route of that name."""
    answer = post(running, f"{PROJECT}/{one['name']}", one["data"], TOKEN)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


UPDATE: dict[str, Any] = {
    "name": "customers",
    "data": {"customer_ids": {"cookie": "a"}, "properties": {"a": 1}, "update_timestamp": 5},
}


@pytest.mark.parametrize("one", [command(customer_ids={"registered": "a", "cookie": "b"}), UPDATE])
def test_what_is_sent_alone_is_received_as_its_command(running: RunningSandbox, one: dict[str, Any]) -> None:
    assert alone(running, one) == {"errors": [], "success": True}
    assert running.received("bloomreach") == [
        {"provider": "bloomreach", "request": 1, "duplicate": False, "command": one}
    ]


@pytest.mark.parametrize(
    "one",
    [
        command(customer_ids={}),
        command(customer_ids={"registered": "undefined"}),
        command(event_type=None),
        command(timestamp="12.08.2012"),
        command(properties={}),
        command(properties={"v": "x" * 16 * 1024}),
        UPDATE | {"data": UPDATE["data"] | {"properties": None}},
        UPDATE | {"data": UPDATE["data"] | {"update_timestamp": "5"}},
    ],
)
def test_wrong_content_sent_alone_is_a_200_that_says_failure(running: RunningSandbox, one: dict[str, Any]) -> None:
    answer = alone(running, one)
    assert answer.keys() == {"success", "errors"}
    assert answer["success"] is False
    assert isinstance(answer["errors"], str)
    assert running.received() == []


@pytest.mark.parametrize("path", [EVENTS, CUSTOMERS])
def test_what_is_not_json_sent_alone_is_refused(running: RunningSandbox, path: str) -> None:
    for body in ("{", "[]", "5", b'{"a": "\xff"}', '{"properties": ' + "[" * 500 + "]" * 500 + "}"):
        assert post(running, path, body, TOKEN).json()["message"] == "Invalid JSON"
    assert post(running, path, BODIES[path], TOKEN | {"Content-Type": "text/plain"}).status_code == 400
    assert httpx.get(running.url + path, headers=TOKEN).status_code == 404


def test_an_event_alone_must_be_less_than_800_kb(running: RunningSandbox) -> None:
    data = command(properties={f"p{n}": "x" * 16000 for n in range(52)})["data"]
    size = len(json.dumps(data, separators=(",", ":")))
    data["properties"]["p0"] = "x" * (16000 - (size - 800 * 1024) - 1)
    assert alone(running, {"name": "customers/events", "data": data})["success"] is True
    data["properties"]["p0"] += "x"
    assert alone(running, {"name": "customers/events", "data": data})["success"] is False


@pytest.mark.parametrize(
    ("form", "of_one", "of_batch"),
    [("documented", str, list), ("text", str, str), ("list", list, list), ("object", dict, dict)],
)
def test_errors_come_as_text_list_or_object(form: str, of_one: type, of_batch: type) -> None:
    bad = command(customer_ids={}, event_type=5)
    with sandbox("--bloomreach-errors", form) as running:
        both = [alone(running, bad)["errors"], result_of(running, bad)["errors"]]
        assert [type(errors) for errors in both] == [of_one, of_batch]
        assert all("At least one id should be specified." in json.dumps(errors) for errors in both)
        assert all("Field 'event_type' must be a string." in json.dumps(errors) for errors in both)


def test_the_time_is_told(running: RunningSandbox) -> None:
    answer = httpx.get(f"{running.url}{PROJECT}/system/time", headers=TOKEN)
    assert (answer.status_code, answer.json()) == (200, {"errors": [], "success": True, "time": 1344812400.0})


@pytest.mark.parametrize("timestamp", [1344812400000, "1344812400001", 1e11 + 1])
def test_milliseconds_are_taken_in_silence_and_kept_with_a_warning(running: RunningSandbox, timestamp: Any) -> None:
    assert result_of(running, command(timestamp=timestamp)) == {"success": True}
    assert alone(running, command(timestamp=timestamp, event_type="other"))["success"] is True
    assert [line["warning"] for line in running.received()] == [MILLISECONDS] * 2
    assert running.state()["warnings"] == {MILLISECONDS: 2}


def test_a_time_in_seconds_brings_no_warning(running: RunningSandbox) -> None:
    for timestamp in (1344812400, 1344812400.123456, "1344812400", "2012-08-12T23:00:00Z", 100_000_000_000, None):
        result_of(running, command(timestamp=timestamp))
    assert running.state()["warnings"] == {}


def test_a_duplicate_is_one_by_whatever_route_it_comes(running: RunningSandbox) -> None:
    for one in (command(timestamp=1.5), command(timestamp=2.5)):
        assert alone(running, one)["success"] is True
        assert alone(running, one)["success"] is True
        assert result_of(running, one)["success"] is True
    alone(running, UPDATE)
    alone(running, UPDATE)
    assert received_flags(running) == [False, True, True] * 2 + [False, False]


def test_empty_properties_are_a_switch() -> None:
    with sandbox("--bloomreach-empty-properties") as running:
        one = command(properties={})
        assert result_of(running, one)["success"] is True
        del one["data"]["properties"]
        assert result_of(running, one)["success"] is True
        assert alone(running, one)["success"] is True


def test_a_value_must_be_less_than_16_kb_of_compact_utf8_json(running: RunningSandbox) -> None:
    room = 16 * 1024 - len('""')
    assert result_of(running, command(properties={"v": "x" * (room - 1)}))["success"] is True
    assert result_of(running, command(properties={"v": "x" * room}))["success"] is False
    assert result_of(running, command(properties={"v": "é" * (room // 2)}))["success"] is False
    assert result_of(running, command(properties={"v": "é" * (room // 2 - 1)}))["success"] is True
    assert result_of(running, command(properties={"a": "x" * 9000, "b": "x" * 9000}))["success"] is True


def test_a_command_must_be_less_than_800_kb_of_compact_json(running: RunningSandbox) -> None:
    one = command(properties={f"p{n}": "x" * 16000 for n in range(52)})
    size = len(json.dumps(one, separators=(",", ":")))
    one["data"]["properties"]["p0"] = "x" * (16000 - (size - 800 * 1024) - 1)
    assert result_of(running, one)["success"] is True
    one["data"]["properties"]["p0"] += "x"
    assert result_of(running, one)["success"] is False
    one["data"]["properties"]["p0"] = one["data"]["properties"]["p0"][:-1]
    spaced = json.dumps({"commands": [one]}, indent=8)
    assert post_bloomreach(running, spaced).json()["results"] == [{"success": True}]


def test_numbers_keep_their_digits(running: RunningSandbox) -> None:
    data = '{"customer_ids":{"registered":"a"},"event_type":"e","timestamp":1.500000,"properties":{"n":12.10}}'
    post_bloomreach(running, '{"commands":[{"name":"customers/events","data":%s}]}' % data)
    assert data in httpx.get(running.url + "/_sandbox/received", params={"provider": "bloomreach"}).text


def received_flags(running: RunningSandbox) -> list[bool]:
    return [line["duplicate"] for line in running.received("bloomreach")]


def test_a_duplicate_is_answered_success_and_not_stored_twice(running: RunningSandbox) -> None:
    one = command(timestamp=1.5, properties={"a": 1, "b": "x"})
    reordered = dict(reversed(one["data"].items())) | {"properties": {"b": "x", "a": 1}}
    again = {"name": "customers/events", "data": reordered, "command_id": "again"}
    assert result_of(running, one) == {"success": True}
    assert result_of(running, again) == {"success": True, "command_id": "again"}
    assert received_flags(running) == [False, True]
    assert running.state()["events"]["bloomreach"] == 1
    assert running.state()["duplicates"] == 1


@pytest.mark.parametrize(
    "other",
    [
        '"customer_ids":{"registered":"b"},"event_type":"e","timestamp":1.5,"properties":{"n":12}',
        '"customer_ids":{"registered":"a"},"event_type":"f","timestamp":1.5,"properties":{"n":12}',
        '"customer_ids":{"registered":"a"},"event_type":"e","timestamp":1.50,"properties":{"n":12}',
        '"customer_ids":{"registered":"a"},"event_type":"e","timestamp":1.5000000000000000001,"properties":{"n":12}',
        '"customer_ids":{"registered":"a"},"event_type":"e","timestamp":"1.5","properties":{"n":12}',
        '"customer_ids":{"registered":"a"},"event_type":"e","timestamp":1.5,"properties":{"n":12.0}',
        '"customer_ids":{"registered":"a"},"event_type":"e","timestamp":1.5,"properties":{"n":"12"}',
        '"customer_ids":{"registered":"a"},"event_type":"e","timestamp":1.5,"properties":{"n":12,"m":1}',
    ],
)
def test_any_difference_makes_another_event(running: RunningSandbox, other: str) -> None:
    first = '"customer_ids":{"registered":"a"},"event_type":"e","timestamp":1.5,"properties":{"n":12}'
    for data in (first, other):
        post_bloomreach(running, '{"commands":[{"name":"customers/events","data":{%s}}]}' % data)
    assert received_flags(running) == [False, False]


def test_duplicates_are_remembered_for_90_days_and_renewed(running: RunningSandbox) -> None:
    for now in ("2020-01-01T00:00:00", "2020-03-30T23:59:59", "2020-06-28T23:59:58", "2020-09-26T23:59:58"):
        running.clock(now)
        post_bloomreach(running, {"commands": [command()]})
    assert received_flags(running) == [False, True, True, False]


def test_customers_updates_are_never_duplicates(running: RunningSandbox) -> None:
    update = {"name": "customers", "data": {"customer_ids": {"registered": "a"}, "properties": {"a": 1}}}
    post_bloomreach(running, {"commands": [update, update]})
    assert received_flags(running) == [False, False]


def test_an_event_without_timestamp_happens_now(running: RunningSandbox) -> None:
    one = command()
    del one["data"]["timestamp"]
    for now in ("2020-01-01T00:00:00", "2020-01-01T00:00:01", "2020-01-01T00:00:01"):
        running.clock(now)
        assert result_of(running, one)["success"] is True
    assert received_flags(running) == [False, False, True]


def test_results_can_come_in_another_order() -> None:
    with sandbox("--shuffle-results") as running:
        commands = [command(timestamp=n) | {"command_id": str(n)} for n in range(5)]
        results = post_bloomreach(running, {"commands": commands}).json()["results"]
        ids = [result["command_id"] for result in results]
        assert ids != ["0", "1", "2", "3", "4"]
        assert sorted(ids) == ["0", "1", "2", "3", "4"]
