"""Events in a provider's shape, and the provider's limits, measured on what is sent."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest

from loader.jsontype import DIGITS, JSON
from loader.plan import encode
from loader.plan.encoding import Coded
from loader.providers import PROVIDERS
from loader.providers.base import Encoded, Route
from loader.providers.batch import BatchSettings
from loader.providers.bloomreach import MANY_COMMANDS, MANY_SINGLE, BloomreachSettings
from loader.rejection import ROW

BATCH, BATCH_ONE = PROVIDERS["batch"].routes
BLOOMREACH, BLOOMREACH_ONE = PROVIDERS["bloomreach"].routes
[APPIZER], [PUSHENGAGE] = PROVIDERS["appizer"].routes, PROVIDERS["pushengage"].routes
BATCH_SDK = BATCH.under(
    BatchSettings.model_validate(
        {"provider": "batch", "api_key": "k", "rest_api_key": "r", "event_names": "any", "attribute_limits": "sdk"}
    )
)
BLOOMREACH_EMPTY = BLOOMREACH.under(
    BloomreachSettings.model_validate(
        {"provider": "bloomreach", "project_token": "p", "api_token": "t", "empty_properties": "send"}
    )
)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def frame(**columns: Any) -> pl.DataFrame:
    event = {"user": "00123", "name": "purchase", "properties.total": 12.5, **columns}
    event = {name: value for name, value in event.items() if value is not ...}
    schema = {"time": pl.Datetime("us", "UTC"), "tags": pl.List(pl.String)}
    data = {ROW: pl.Series([1], dtype=pl.UInt64)}
    for name, value in event.items():
        data[name] = value if isinstance(value, pl.Series) else pl.Series([value], dtype=schema.get(name))
    return pl.DataFrame(data)


def digits(text: str) -> pl.Series:
    return pl.Series([text]).ext.to(DIGITS)


def encoded(route: Route, events: pl.DataFrame) -> Coded:
    return encode(events, route.encode(dict(events.drop(ROW).schema)), None, "send", NOW)


def coded(route: Route, events: pl.DataFrame) -> tuple[Any, list[tuple[str, str]]]:
    """The event as it is sent, or None, and the rejections: reason and field."""
    result = encoded(route, events)
    sent = json.loads(result.events["event"][0]) if len(result.events) else None
    return sent, list(result.rejected.select("reason", "field").iter_rows())


def test_a_batch_event() -> None:
    event = frame(
        time=datetime(2026, 3, 1, 11, 30, 5, 999999, tzinfo=UTC),
        label="gold",
        tags=["a", "b"],
        **{
            "properties.note": pl.Series([None], dtype=pl.String),
            "properties.ends": pl.Series([datetime(2026, 4, 1, tzinfo=UTC)], dtype=pl.Datetime("us", "UTC")),
            "properties.day": date(2026, 5, 1),
        },
    )
    assert coded(BATCH, event)[0] == {
        "name": "ue.purchase",
        "time": "2026-03-01T11:30:05",
        "label": "gold",
        "attributes": {"total": 12.5, "date(ends)": "2026-04-01T00:00:00", "date(day)": "2026-05-01T00:00:00"},
        "tags": ["a", "b"],
    }


def test_a_batch_body_names_a_user_once() -> None:
    body = BATCH.envelope.body(['"a"', '"a"', '"b"'], ["1", "3", "2"])
    assert json.loads(body) == [{"id": "a", "events": [1, 3]}, {"id": "b", "events": [2]}]


def test_a_bloomreach_command() -> None:
    event = frame(
        time=datetime(2026, 3, 1, 11, 30, 5, 10, tzinfo=UTC),
        **{
            "ids.cookie": "c",
            "properties.ends": pl.Series([datetime(2026, 4, 1, tzinfo=UTC)], dtype=pl.Datetime("us", "UTC")),
        },
    )
    assert coded(BLOOMREACH, event)[0] == {
        "name": "customers/events",
        "data": {
            "customer_ids": {"registered": "00123", "cookie": "c"},
            "event_type": "purchase",
            "timestamp": 1772364605.00001,
            "properties": {"total": 12.5, "ends": 1775001600},
        },
        "command_id": "1",
    }


def test_a_bloomreach_customer_and_a_single_event() -> None:
    seen = datetime(2026, 3, 1, 11, 30, 5, 10, tzinfo=UTC)
    customer = frame(name=..., time=seen, **{"ids.cookie": " ", "ids.email": "a@b.example"})
    data = {
        "customer_ids": {"registered": "00123", "email": "a@b.example"},
        "update_timestamp": 1772364605.00001,
        "properties": {"total": 12.5},
    }
    assert coded(BLOOMREACH, customer)[0] == {"name": "customers", "data": data, "command_id": "1"}
    assert coded(BLOOMREACH_ONE, customer)[0] == data
    nobody = frame(user=..., name=..., **{"ids.cookie": "c"})
    assert coded(BLOOMREACH_ONE, nobody)[0] == {"customer_ids": {"cookie": "c"}, "properties": {"total": 12.5}}
    assert coded(BLOOMREACH_ONE, frame())[0] == {
        "event_type": "purchase",
        "customer_ids": {"registered": "00123"},
        "properties": {"total": 12.5},
    }


@pytest.mark.parametrize(
    ("keys", "authorization"),
    [
        ({"api_key_id": "id", "api_secret": "secret"}, "Basic aWQ6c2VjcmV0"),
        ({"api_token": "token"}, "Token token"),
    ],
)
def test_where_bloomreach_gets_it(keys: dict[str, str], authorization: str) -> None:
    provider = PROVIDERS["bloomreach"]
    settings = provider.settings.model_validate({"provider": "bloomreach", "project_token": "p/1", **keys})
    for route, event, path in (
        (BLOOMREACH, frame(), "batch"),
        (BLOOMREACH_ONE, frame(), "customers/events"),
        (BLOOMREACH_ONE, frame(name=...), "customers"),
    ):
        body = route.envelope.body([None], [encoded(route, event).events["event"][0]])
        request = route.request(settings, body, None)
        assert request.url == f"https://api.exponea.com/track/v2/projects/p%2F1/{path}"
        assert request.headers["Authorization"] == authorization


def test_an_appizer_event() -> None:
    ends = pl.Series([datetime(2026, 4, 1, tzinfo=UTC)], dtype=pl.Datetime("us", "UTC"))
    event = frame(time=NOW, ip="192.168.1.1", user_agent="Mozilla/5.0", **{"properties.ends": ends})
    assert coded(APPIZER, event)[0] == {
        "event_name": "purchase",
        "user_id": "00123",
        "properties": {"total": 12.5, "ends": "2026-04-01T00:00:00Z"},
        "ip": "192.168.1.1",
        "ua": "Mozilla/5.0",
    }
    bare = frame(**{"ip": pl.Series([None], dtype=pl.String), "properties.total": pl.Series([None], dtype=pl.Float64)})
    assert coded(APPIZER, bare)[0] == {"event_name": "purchase", "user_id": "00123"}


@pytest.mark.parametrize(
    ("columns", "ids"),
    [
        ({}, {"profile_id": "00123"}),
        ({"user": ..., "ids.device_token_hash": "d"}, {"device_token_hash": "d"}),
        ({"user": ..., "ids.profile_id": "p", "ids.device_token_hash": "d"}, {"profile_id": "p"}),
        ({"user": ..., "ids.profile_id": " ", "ids.device_token_hash": "d"}, {"device_token_hash": "d"}),
        (
            {"user": ..., "ids.profile_id": pl.Series([None], dtype=pl.String), "ids.device_token_hash": "d"},
            {"device_token_hash": "d"},
        ),
        ({"user": ..., "ids.profile_id": "p", "ids.device_token_hash": " "}, {"profile_id": "p"}),
    ],
)
def test_a_pushengage_event_has_one_id(columns: dict[str, Any], ids: dict[str, str]) -> None:
    ends = pl.Series([datetime(2026, 4, 1, 1, 2, 3, 500_000, tzinfo=UTC)], dtype=pl.Datetime("us", "UTC"))
    event = frame(time=NOW, **{"properties.ends": ends, "properties.day": date(2026, 5, 1), **columns})
    data = {"total": 12.5, "ends": "2026-04-01T01:02:03.500Z", "day": "2026-05-01"}
    assert coded(PUSHENGAGE, event)[0] == {"event_name": "purchase", **ids, "data": data}
    [user] = encoded(PUSHENGAGE, event).events["user"]
    assert [json.loads(user)] == list(ids.values())


def test_a_pushengage_event_without_data() -> None:
    nothing = frame(**{"properties.total": pl.Series([None], dtype=pl.Float64)})
    assert coded(PUSHENGAGE, nothing)[0] == {"event_name": "purchase", "profile_id": "00123"}


@pytest.mark.parametrize("user", ["vincent", "a/b", "é ?#", "%2e", "00123"])
def test_a_batch_user_in_the_path(user: str) -> None:
    keys = {"provider": "batch", "api_key": "key/1", "rest_api_key": "rest"}
    settings = PROVIDERS["batch"].settings.model_validate(keys)
    url = BATCH_ONE.request(settings, b"", encoded(BATCH_ONE, frame(user=user)).events["user"][0]).url
    assert url == f"https://api.batch.com/1.0/key%2F1/events/users/{quote(user, safe='')}"


def moment(year: int) -> pl.Series:
    seconds = (year - 1970) * 31_556_952
    return pl.Series([seconds * 1_000_000], dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))


@pytest.mark.parametrize(
    ("route", "columns", "rejected"),
    [
        (BATCH, {"label": "é" * 200}, []),
        (BATCH, {"label": "é" * 201}, [("over_limit", "label")]),
        (BATCH, {"tags": ["t"] * 10}, []),
        (BATCH, {"tags": ["t"] * 11}, [("over_limit", "tags")]),
        (BATCH, {"tags": ["t" * 65]}, [("over_limit", "tags")]),
        (BATCH, {"user": "u" * 1024}, []),
        (BATCH, {"user": "u" * 1025}, [("over_limit", "user")]),
        (BATCH, {"properties.note": "n" * 64}, []),
        (BATCH, {"properties.note": "n" * 65}, [("over_limit", "properties.note")]),
        (BATCH, {"name": "ue.added_to_cart"}, []),
        (BATCH, {"name": "Purchase"}, [("bad_value", "name")]),
        (BATCH, {"name": "n" * 31}, [("bad_value", "name")]),
        (BATCH_SDK, {"name": "Add To Cart"}, []),
        (BATCH_SDK, {"properties.note": "n" * 300}, []),
        (BATCH_SDK, {"properties.note": "n" * 301}, [("over_limit", "properties.note")]),
        (BATCH_SDK, {f"properties.p{n}": 1 for n in range(19)}, []),
        (BATCH_SDK, {f"properties.p{n}": 1 for n in range(20)}, [("over_limit", "properties")]),
        (BLOOMREACH_EMPTY, {"properties.total": pl.Series([None], dtype=pl.Float64)}, []),
        (BATCH, {f"properties.p{n}": 1 for n in range(14)}, []),
        (BATCH, {f"properties.p{n}": 1 for n in range(15)}, [("over_limit", "properties")]),
        (BATCH, {"label": "é" * 201, "name": "Bad"}, [("bad_value", "name")]),
        (BLOOMREACH, {"properties.note": "n" * (16 * 1024 - 3)}, []),
        (BLOOMREACH, {"properties.note": "n" * (16 * 1024 - 2)}, [("over_limit", "properties.note")]),
        (BLOOMREACH, {"properties.note": "é" * (8 * 1024 - 1)}, [("over_limit", "properties.note")]),
        (BLOOMREACH, {"properties.note": '"' * (8 * 1024)}, [("over_limit", "properties.note")]),
        (BLOOMREACH, {f"properties.p{n}": "n" * 16_000 for n in range(50)}, []),
        (BLOOMREACH, {f"properties.p{n}": "n" * 16_000 for n in range(52)}, [("over_limit", "event")]),
        (BLOOMREACH, {"properties.total": pl.Series([None], dtype=pl.Float64)}, [("bad_value", "properties")]),
        (
            BLOOMREACH,
            {"name": ..., "properties.total": pl.Series([None], dtype=pl.Float64)},
            [("bad_value", "properties")],
        ),
        (BLOOMREACH, {"user": "+?#&"}, [("bad_value", "user")]),
        (BLOOMREACH, {"user": "null"}, [("bad_value", "user")]),
        (BLOOMREACH, {"user": "null", "ids.cookie": "c"}, [("bad_value", "user")]),
        (BLOOMREACH, {"user": ..., "ids.cookie": "null", "ids.email": "a@b.example"}, []),
        (BLOOMREACH, {"user": "Ü"}, []),
        (BLOOMREACH_ONE, {"user": ..., "name": ..., "ids.cookie": "undefined"}, [("bad_value", "ids.cookie")]),
        (BLOOMREACH, {"time": moment(5100)}, []),
        (BLOOMREACH, {"time": moment(5200)}, [("bad_value", "time")]),
        (BLOOMREACH, {"time": moment(57_000)}, [("bad_value", "time")]),
        (BLOOMREACH, {"time": moment(-4000)}, [("bad_value", "time")]),
        (BLOOMREACH, {"properties.until": moment(9999)}, []),
        (BLOOMREACH_ONE, {f"properties.p{n}": "n" * 16_000 for n in range(51)}, []),
        (BLOOMREACH_ONE, {f"properties.p{n}": "n" * 16_000 for n in range(52)}, [("over_limit", "event")]),
        (BATCH, {"properties.until": moment(9000)}, []),
        (BATCH, {"properties.until": datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)}, []),
        (BATCH, {"properties.since": datetime(1, 1, 1, tzinfo=UTC)}, []),
        (BATCH, {"properties.day": date(9999, 12, 31)}, []),
        (BATCH, {"properties.day": date(1, 1, 1)}, []),
        (BATCH, {"properties.exact": digits("1" * 64)}, []),
        (BATCH, {"properties.exact": digits("1" * 65)}, [("over_limit", "properties.exact")]),
        (BATCH_ONE, {"user": "..."}, []),
        (BATCH_ONE, {"user": ".."}, [("bad_value", "user")]),
        (BATCH_ONE, {"user": "."}, [("bad_value", "user")]),
        (BATCH_ONE, {"label": "é" * 201}, [("over_limit", "label")]),
        (APPIZER, {"properties.note": "n" * 9_999_000}, []),
        (APPIZER, {"properties.note": "é" * 5_000_000}, [("over_limit", "event")]),
        (PUSHENGAGE, {"name": "é" * 64}, []),
        (PUSHENGAGE, {"name": "é" * 65}, [("over_limit", "name")]),
        (PUSHENGAGE, {"name": "PushEngage"}, []),
        (PUSHENGAGE, {"name": "PushEngage.opened"}, [("bad_value", "name")]),
        (PUSHENGAGE, {"properties.total": ..., "properties.note": "n" * (4096 - 11)}, []),
        (PUSHENGAGE, {"properties.total": ..., "properties.note": "n" * (4096 - 10)}, [("over_limit", "properties")]),
        (PUSHENGAGE, {"properties.total": ..., "properties.note": "é" * 2043}, [("over_limit", "properties")]),
    ],
)
def test_limits(route: Route, columns: dict[str, Any], rejected: list[tuple[str, str]]) -> None:
    event, found = coded(route, frame(**columns))
    assert found == rejected
    assert (event is None) == bool(rejected)


@pytest.mark.parametrize(
    ("route", "columns", "expected"),
    [
        (
            BATCH,
            {"properties.Total": pl.Int64(), "properties.ok_1": pl.String()},
            {"properties.Total": "a-z, 0-9 and _"},
        ),
        (BATCH_ONE, {"properties.items": pl.List(pl.String), "properties.n": DIGITS}, {"properties.items": "no lists"}),
        (BATCH, {"properties.j": JSON, "properties." + "k" * 30: pl.Int64()}, {"properties.j": "no lists"}),
        (BATCH, {"properties." + "k" * 31: pl.Int64()}, {"properties." + "k" * 31: "at most 30"}),
        (
            BATCH,
            {"properties.date(ends)": pl.String()},
            {"properties.date(ends)": "name the property ends, as: datetime"},
        ),
        (
            BLOOMREACH,
            {"user": pl.String(), "ids.registered": pl.String(), "properties.a": pl.String()},
            {"ids.registered": "map one of the two"},
        ),
        (
            BLOOMREACH_ONE,
            {"ids.registered": pl.String(), "ids.cookie": pl.String(), "properties.a": pl.String()},
            {},
        ),
        (BLOOMREACH, {"user": pl.String(), "name": pl.String()}, {"properties": "takes no event without a property"}),
        (BLOOMREACH_EMPTY, {"user": pl.String(), "name": pl.String()}, {}),
        (
            PUSHENGAGE,
            {"properties.a-B_9": pl.Int64(), "properties._a": pl.Int64()},
            {"properties._a": "beginning with"},
        ),
        (PUSHENGAGE, {"properties.é": pl.Int64(), "properties." + "k" * 255: DIGITS}, {"properties.é": "at most 255"}),
        (PUSHENGAGE, {"properties.s": pl.Struct({"a": pl.Int64})}, {"properties.s": "no lists or objects"}),
        (PUSHENGAGE, {"user": pl.String(), "ids.profile_id": pl.String()}, {"ids.profile_id": "map one of the two"}),
        (
            PUSHENGAGE,
            {"user": pl.String(), "ids.device_token_hash": pl.String()},
            {"ids.device_token_hash": "never be used"},
        ),
        (PUSHENGAGE, {"ids.profile_id": pl.String(), "ids.device_token_hash": pl.String()}, {}),
    ],
)
def test_what_is_never_taken_is_known_before_any_row(
    route: Route, columns: dict[str, pl.DataType], expected: dict[str, str]
) -> None:
    found = dict(route.problems(columns))
    assert set(found) == set(expected)
    assert all(words in found[column] for column, words in expected.items())


def test_what_was_measured_is_not_taken_for_the_value() -> None:
    found = encoded(BLOOMREACH, frame(**{"properties.note": "n" * 16_384})).rejected
    assert found.select("value", "message").rows() == [
        (None, "properties.note: 16386 bytes, Bloomreach takes less than 16384")
    ]
    found = encoded(BATCH, frame(label="l" * 201)).rejected
    assert found["value"].to_list() == ["l" * 200]


def test_large_volumes_are_warned_of() -> None:
    assert BLOOMREACH.warning(MANY_COMMANDS) is None
    assert "Imports" in (BLOOMREACH.warning(MANY_COMMANDS + 1) or "")
    assert BLOOMREACH_ONE.warning(MANY_SINGLE) is None
    assert "`route: batch`" in (BLOOMREACH_ONE.warning(MANY_SINGLE + 1) or "")
    assert "`rate`" in (APPIZER.warning(1001) or "")


def test_bloomreach_resends_only_what_it_can_recognise() -> None:
    assert BLOOMREACH.in_doubt({"time": pl.Datetime("us", "UTC")}) == "resend"
    assert BLOOMREACH.in_doubt({}) == "hold"
    assert BATCH.in_doubt({"time": pl.Datetime("us", "UTC")}) == "hold"


def test_a_provider_may_write_its_events_itself() -> None:
    frame = pl.DataFrame({ROW: [1, 2], "name": ["a", None]}, schema={ROW: pl.UInt64, "name": pl.String})
    written = pl.format("<{}>", pl.col("name").fill_null("nobody"))
    assert encode(frame, Encoded(written, pl.lit(None, pl.String)), None, "send", NOW).events["event"].to_list() == [
        "<a>",
        "<nobody>",
    ]
