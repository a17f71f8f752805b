"""The requests of the tests: the documents' examples, valid events, and how they are sent."""

from __future__ import annotations

import json
from typing import Any

import httpx

from loader.sandbox import CREDENTIALS
from tests.support.sandbox import RunningSandbox

NOW = "2012-08-12T23:00:00"
BULK = "/1.0/sandbox-api-key/events/users"
SINGLE = f"{BULK}/vincent"
PROJECT = "/track/v2/projects/sandbox-project"
COMMANDS = f"{PROJECT}/batch"
EVENTS = f"{PROJECT}/customers/events"
CUSTOMERS = f"{PROJECT}/customers"
APPIZER = "/v1/events/batch"
PUSHENGAGE = "/api/v1/events"
REST_KEY = {"X-Authorization": CREDENTIALS["batch"]["rest_api_key"]}
TOKEN = {"Authorization": f"Token {CREDENTIALS['bloomreach']['api_token']}"}
BEARER = {"Authorization": f"Bearer {CREDENTIALS['appizer']['api_key']}"}
API_KEY = {"Api-Key": CREDENTIALS["pushengage"]["api_key"]}

# Batch, POST - Track events, Bulk tracking: the example as it is printed.
BATCH_EXAMPLE = """[
  {
    "id": "vincent",
    "events": [
      {
        "name": "ue.added_to_cart",
        "time": "2012-08-12T22:30:05",
        "label": "shoes",
        "attributes": {
          "id": "00-00-xxx-xxx",
          "sub_category": "boots",
          "date(promo_ends)": "2021-08-12T22:30:05"
        },
        "tags": [
          "private-sales",
          "summer-discount"
        ]
      }
    ]
  },
  {
    "id": "claire",
    "events": [
      {
        "name": "ue.added_to_cart",
        "time": "2012-08-12T22:30:05",
        "label": "glasses",
        "attributes": {
          "id": "00-00-yyy-yyy",
          "sub_category": "accessories",
          "date(promo_ends)": "2021-08-12T22:30:05"
        },
        "tags": [
          "private-sales",
          "summer-discount"
        ]
      }
    ]
  }
]"""

# Bloomreach, Batch commands: the example as it is printed (the addresses are hidden in the document).
BLOOMREACH_EXAMPLE = """{
    "commands": [
        {"name": "system/time"},
        {
        "name": "customers",
        "command_id": "abc",
        "data": {
            "customer_ids": {
                "registered": "[email protected]a.com"
            },
            "properties": {
                "first_name": "Marian",
                "last_name": "Galik"
            }
        }
    },
    {
        "name": "customers/events",
        "data": {
            "customer_ids": {
            "registered": "[email protected]"
        },
            "event_type": "purchase",
            "timestamp": 123456.78, 
            "properties": {
            "total_price": 1234.50,
            "voucher_code": "KA54-548C-TEST"
            }
        }
    }
    ]
}"""  # noqa: W291


def post(running: RunningSandbox, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
    """In: a sandbox, a path, a body (text, bytes or anything JSON). Out: the answer."""
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    # Without certificates: loading them would cost more time than the rest of a test.
    with httpx.Client(trust_env=False, verify=False, timeout=10) as client:
        return client.post(running.url + path, content=content, headers={"Content-Type": "application/json"} | headers)


def post_batch(running: RunningSandbox, body: Any, path: str = BULK) -> httpx.Response:
    return post(running, path, body, REST_KEY)


def post_bloomreach(running: RunningSandbox, body: Any) -> httpx.Response:
    return post(running, COMMANDS, body, TOKEN)


def post_appizer(running: RunningSandbox, body: Any) -> httpx.Response:
    return post(running, APPIZER, body, BEARER)


def post_pushengage(running: RunningSandbox, body: Any) -> httpx.Response:
    return post(running, PUSHENGAGE, body, API_KEY)


def appizer_events(count: int = 1, **fields: Any) -> dict[str, Any]:
    """In: fields of each event, in addition to the required ones. Out: a body of Appizer."""
    return {"events": [{"event_name": f"e{number}", "user_id": "u", **fields} for number in range(count)]}


def push_event(**fields: Any) -> dict[str, Any]:
    """In: fields that differ from those of a good event. Out: a body of PushEngage."""
    return {"event_name": "add_to_cart", "profile_id": "p"} | fields


ROUTES = [
    "batch bulk", "batch single", "appizer", "bloomreach batch", "bloomreach events", "bloomreach customers",
    "pushengage",
]  # fmt: skip


def good_request(route: str) -> tuple[str, Any, dict[str, str]]:
    """In: one of `ROUTES`. Out: its path, a body with one good event or customer, its headers."""
    return {
        "batch bulk": (BULK, users(), REST_KEY),
        "batch single": (SINGLE, {"events": users()[0]["events"]}, REST_KEY),
        "appizer": (APPIZER, appizer_events(), BEARER),
        "bloomreach batch": (COMMANDS, {"commands": [command()]}, TOKEN),
        "bloomreach events": (EVENTS, command()["data"], TOKEN),
        "bloomreach customers": (CUSTOMERS, {"customer_ids": {"registered": "a"}, "properties": {"n": 1}}, TOKEN),
        "pushengage": (PUSHENGAGE, push_event(), API_KEY),
    }[route]


def users(**fields: Any) -> list[dict[str, Any]]:
    """In: fields of one event, in addition to its name. Out: a body of Batch with that one event."""
    return [{"id": "vincent", "events": [{"name": "ue.bought", **fields}]}]


def command(**data: Any) -> dict[str, Any]:
    """In: fields of `data` that differ from those of a good event. Out: a command of Bloomreach."""
    good = {"customer_ids": {"registered": "a"}, "event_type": "purchase", "timestamp": 1, "properties": {"n": 1}}
    return {"name": "customers/events", "data": good | data}


def result_of(running: RunningSandbox, one: Any) -> dict[str, Any]:
    """In: one command. Out: its result."""
    answer = post_bloomreach(running, {"commands": [one]})
    assert answer.status_code == 200, answer.text
    (result,) = answer.json()["results"]
    assert isinstance(result, dict)
    return result
