"""Bloomreach's own Python SDK (it still has the old name) talks to the sandbox as it does to the provider."""

from __future__ import annotations

import pytest
from exponea_python_sdk import Exponea
from exponea_python_sdk.exceptions import APIException

from loader.sandbox import CREDENTIALS
from tests.support.sandbox import RunningSandbox, sandbox

KEYS = CREDENTIALS["bloomreach"]
CUSTOMER = {"registered": "marian@example.com"}


def client(running: RunningSandbox, secret: str = KEYS["api_secret"]) -> Exponea:
    return Exponea(KEYS["project_token"], username=KEYS["api_key_id"], password=secret, url=running.url)


def test_events_and_customers_are_taken_alone(running: RunningSandbox) -> None:
    tracking = client(running).tracking
    assert tracking.add_event(CUSTOMER, "purchase", {"total_price": 12.5}, timestamp=1344812400.25) is True
    assert tracking.add_event(CUSTOMER, "visit", {"page": "/"}) is True
    assert tracking.update_customer_properties(CUSTOMER, {"first_name": "Marian"}) is True
    assert tracking.get_system_time() == 1344812400.0
    purchase, visit, customer = (line["command"] for line in running.received("bloomreach"))
    assert purchase == {
        "name": "customers/events",
        "data": {
            "customer_ids": CUSTOMER,
            "event_type": "purchase",
            "timestamp": 1344812400.25,
            "properties": {"total_price": 12.5},
        },
    }
    assert visit["data"]["timestamp"] is None, "what the SDK sends where it is given no time"
    assert customer == {
        "name": "customers", "data": {"customer_ids": CUSTOMER, "properties": {"first_name": "Marian"}}
    }  # fmt: skip


def test_a_batch_is_taken_and_each_command_answered(running: RunningSandbox) -> None:
    tracking = client(running).tracking
    results = tracking.batch_commands(
        [
            tracking.add_event(CUSTOMER, "purchase", {"total_price": 12.5}, 1344812400, batch=True),
            tracking.add_event({}, "purchase", {"total_price": 12.5}, 1344812400, batch=True),
            tracking.update_customer_properties(CUSTOMER, {"first_name": "Marian"}, batch=True),
            tracking.get_system_time(batch=True),
        ]
    )
    assert results == [True, False, True, 1344812400.0]
    assert len(running.received("bloomreach")) == 2


@pytest.mark.parametrize("form", ["text", "list", "object"])
def test_a_refusal_is_raised_whatever_the_form_of_its_errors(form: str) -> None:
    with sandbox("--bloomreach-errors", form) as running:
        with pytest.raises(APIException, match="At least one id should be specified"):
            client(running).tracking.add_event({}, "purchase", {"total_price": 12.5})
        with pytest.raises(APIException, match="invalid secret"):
            client(running, secret="other").tracking.add_event(CUSTOMER, "purchase", {"total_price": 12.5})
        assert running.received() == []
