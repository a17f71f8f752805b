"""`customer:` instead of `event:`: what a row becomes, and what is wrong before anything is read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from loader.providers import PROVIDERS
from loader.providers.base import Window
from loader.rejection import ROW
from tests.mapping.support import BATCH, BLOOMREACH, SOURCE, bound, frame, loaded, mapped, problems, write

CUSTOMER = "customer: {user: u, properties: {a: b}}\n"
EVENT = "event: {user: u, name: n}\n"
APART = "where they differ, each destination has a block of its own, and the mapping has none"
FIELDS = "its fields are user, ids, time, properties"


def own(block: str, destinations: str = BLOOMREACH) -> str:
    """`destinations` with `block` in the first of them."""
    return destinations.replace("}", f", {block}}}", 1)


# (what is wrong, the mapping without its source, its problems)
WRONG: list[tuple[str, str, list[str]]] = [
    (
        "both",
        EVENT + CUSTOMER + BLOOMREACH,
        ["3:1: a row becomes an event or a customer; 'event' stands on line 2 already"],
    ),
    (
        "both of a destination",
        own(CUSTOMER.strip() + ", " + EVENT.strip()),
        ["3:125: a row becomes an event or a customer; 'customer' stands on line 3 already"],
    ),
    ("neither", BLOOMREACH, ["1:1: 'event' (or 'customer') is missing"]),
    ("misspelt", "custmer: {user: u}\n" + EVENT + BLOOMREACH, ["2:1: unknown key 'custmer'; did you mean 'customer'?"]),
    (
        "misspelt in a destination",
        CUSTOMER + own("custmer: {user: u}"),
        ["4:84: unknown key 'custmer'; did you mean 'customer'?"],
    ),
    (
        "nobody",
        "customer: {properties: {a: b}}\n" + BLOOMREACH,
        ["2:11: 'user' is missing; it says whose profile is updated"],
    ),
    (
        "fields of events",
        "customer: {id: i, user: u, name: n}\n" + BLOOMREACH,
        [
            f"2:12: a customer has no `id`: an update may be delivered again; {FIELDS}",
            f"2:28: a customer has no `name`: an update is no event; {FIELDS}",
        ],
    ),
    (
        "other fields, and a value",
        "customer: {user: uper(u), label: x, tme: t}\n" + BLOOMREACH,
        [
            "2:18: no SQL function uper; did you mean UPPER?",
            f"2:27: a customer has no field 'label'; {FIELDS}",
            f"2:37: a customer has no field 'tme'; did you mean 'time'? {FIELDS}",
        ],
    ),
    (
        "an event for a mapping of customers",
        CUSTOMER + own("event: {user: u, name: n}"),
        [f"4:84: the mapping makes customers, so that a destination adds to `customer:`; {APART}"],
    ),
    (
        "a customer for a mapping of events",
        EVENT + own(CUSTOMER.strip()),
        [f"4:84: the mapping makes events, so that a destination adds to `event:`; {APART}"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_problems_of_a_customer(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert problems(write(tmp_path, SOURCE + text)) == expected


def test_a_lag_would_update_a_customer_twice(tmp_path: Path) -> None:
    source = "source: {type: csv, path: rows.csv, cursor: {column: day, lag: 1d}}\n"
    assert problems(write(tmp_path, source + CUSTOMER + BLOOMREACH)) == [
        "1:64: `lag` reads rows again; without `event.id` they would be sent twice; a customer has no `id`"
    ]


@pytest.mark.parametrize("text", [CUSTOMER + BATCH, own(CUSTOMER.strip(), BATCH)], ids=["shared", "own"])
def test_a_route_that_takes_no_customers_is_named_with_those_that_do(tmp_path: Path, text: str) -> None:
    [problem] = problems(write(tmp_path, SOURCE + text))
    line = 4 if text.startswith(CUSTOMER) else 3
    assert problem.startswith(f"{line}:5: batch (route bulk) takes no `customer:`; it goes to bloomreach (route batch")


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path, SOURCE + "customer: {user: custmer, properties: {a: b}}\n" + BLOOMREACH)
    assert problems(path, {"customer": pl.String(), "b": pl.String()}) == [
        "2:18: no column 'custmer'; did you mean customer? To send this text itself write {const: custmer}"
    ]


def test_customers_have_neither_names_nor_ids(tmp_path: Path) -> None:
    rows = frame({"u": ["1", None, "3"], "t": ["2026-03-01T10:00:00Z"] * 2 + ["x"], "mail": ["A@x", "b", "c"]})
    path = write(
        tmp_path, SOURCE + "customer: {user: u, time: t, properties: {mail: lower(mail), n: 1}}\n" + BLOOMREACH
    )
    result = mapped(path, rows)
    assert result.events.columns == [ROW, "user", "time", "properties.mail", "properties.n"]
    assert result.events.rows() == [(1, "1", datetime(2026, 3, 1, 10, tzinfo=UTC), "a@x", 1)]
    assert result.rejected["reason"].to_list() == ["missing_user", "bad_time"]


def test_a_customer_without_any_id_is_rejected(tmp_path: Path) -> None:
    rows = frame({"r": ["x", None], "c": [None, None], "a": ["1", "2"]})
    path = write(tmp_path, SOURCE + "customer: {ids: {registered: r, cookie: c}, properties: '*'}\n" + BLOOMREACH)
    result = mapped(path, rows)
    assert result.events.rows(named=True) == [{ROW: 1, "ids.registered": "x", "ids.cookie": None, "properties.a": "1"}]
    assert result.rejected["message"].to_list() == [
        "the customer has no user: ids.registered (r) and ids.cookie (c) are null"
    ]


def test_a_destination_adds_to_the_shared_customer(tmp_path: Path) -> None:
    text = SOURCE + CUSTOMER + own("customer: {user: v, properties: {c: d}}")
    mapping = loaded(tmp_path, text)
    [destination] = mapping.destinations
    assert destination.event.kind == "customer"
    assert {f.name: f.values[0].expr for f in destination.event.fields} == {
        "user": "v",
        "properties.a": "b",
        "properties.c": "d",
    }
    assert mapping.used_columns() == {"v", "b", "d"}
    assert not mapping.tells_new_rows


def test_one_row_may_be_an_event_here_and_a_customer_there(tmp_path: Path) -> None:
    second = "  - {provider: batch, api_key: k, rest_api_key: r, event: {user: u, name: {const: n}}}\n"
    path = write(tmp_path, SOURCE + own(CUSTOMER.strip()) + second)
    rows = frame({"u": ["1"], "b": ["2"]})
    both = bound(path, rows).destinations
    assert [one.destination.event.kind for one in both] == ["customer", "event"]
    assert [one.events(rows).events.columns for one in both] == [[ROW, "user", "properties.a"], [ROW, "user", "name"]]


def test_a_time_cannot_be_sent_where_the_provider_has_no_field_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SOURCE + EVENT + own("late_events: send", BATCH)
    assert loaded(tmp_path, text).destinations[0].settings.late_events == "send"
    monkeypatch.setattr(PROVIDERS["batch"].routes[0], "window", Window(None, "page"))
    [problem] = problems(write(tmp_path, text))
    assert problem.startswith("4:65: batch has no field for a time, so that no event can be sent with one; choose omit")
    assert loaded(tmp_path, text.replace("send", "reject")).destinations[0].settings.late_events == "reject"
