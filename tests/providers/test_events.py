"""Events in a provider's shape, and the provider's limits, measured on what is sent."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from loader.plan import encode
from loader.providers.base import Route
from loader.providers.batch import Bulk
from loader.providers.bloomreach import Commands
from loader.rejection import ROW

BATCH, BLOOMREACH = Bulk(), Commands()
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def frame(**columns: Any) -> pl.DataFrame:
    event = {"user": "00123", "name": "purchase", "properties.total": 12.5, **columns}
    schema = {"time": pl.Datetime("us", "UTC"), "tags": pl.List(pl.String)}
    data = {ROW: pl.Series([1], dtype=pl.UInt64)}
    for name, value in event.items():
        data[name] = value if isinstance(value, pl.Series) else pl.Series([value], dtype=schema.get(name))
    return pl.DataFrame(data)


def coded(route: Route, events: pl.DataFrame) -> tuple[Any, list[tuple[str, str]]]:
    """The event as it is sent, or None, and the rejections: reason and field."""
    result = encode(events, route.encode(dict(events.drop(ROW).schema)), None, "send", NOW)
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
    ],
)
def test_limits(route: Route, columns: dict[str, Any], rejected: list[tuple[str, str]]) -> None:
    event, found = coded(route, frame(**columns))
    assert found == rejected
    assert (event is None) == bool(rejected)


def test_what_batch_never_takes_is_known_before_any_row() -> None:
    columns = {"properties.Total": pl.Int64(), "properties.ok_1": pl.String(), "properties.items": pl.List(pl.String)}
    assert [column for column, _ in BATCH.problems(columns)] == ["properties.Total", "properties.items"]


def test_bloomreach_resends_only_what_it_can_recognise() -> None:
    assert BLOOMREACH.in_doubt({"time": pl.Datetime("us", "UTC")}) == "resend"
    assert BLOOMREACH.in_doubt({}) == "hold"
    assert BATCH.in_doubt({"time": pl.Datetime("us", "UTC")}) == "hold"
