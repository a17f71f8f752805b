"""Conversions: what fits is exact, what does not is named, nothing is guessed."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.convert import TimeWithoutZone, convert
from loader.errors import LoaderError
from loader.settings import ColumnType


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("integer", "12", 12),
        ("integer", " -7 ", -7),
        ("integer", "9007199254740993", 9007199254740993),
        ("integer", "1.0", None),
        ("integer", "99999999999999999999", None),
        ("integer", "1e3", None),
        ("number", "1e5", 1e5),
        ("number", "nan", None),
        ("number", "inf", None),
        ("decimal", "12.10", Decimal("12.10")),
        ("decimal", "1e5", None),
        ("boolean", "NO", False),
        ("boolean", "true", True),
        ("boolean", "2", None),
        ("date", "2026-02-28", date(2026, 2, 28)),
        ("date", "2026-02-30", None),
        ("text", "00123", "00123"),
        ("datetime", "2026-03-01T10:00:00Z", at("2026-03-01T10:00:00")),
        ("datetime", "2026-03-01 10:00:00 UTC", at("2026-03-01T10:00:00")),
        ("datetime", "2026-03-01T10:00:00.123456789+01:00", at("2026-03-01T09:00:00.123456")),
        ("datetime", "2026-03-01T10:00:00,5+0530", at("2026-03-01T04:30:00.5")),
        ("datetime", "2026-03-01 10:00:00+00", at("2026-03-01T10:00:00")),
        ("datetime", "2026-03-01", at("2026-02-28T23:00:00")),
        ("datetime", "2026-03-01T10:00", at("2026-03-01T09:00:00")),
        ("datetime", "2026-02-30T10:00:00", None),
        ("datetime", "2026-03-01T24:00:00", None),
        ("datetime", "2026-03-01T10:00:60", None),
        ("datetime", "26-03-01T10:00:00", None),
        ("datetime", "1 March 2026", None),
    ],
)
def test_a_text(kind: ColumnType, text: str, expected: Any) -> None:
    converted = convert(pl.Series([None, text]), kind, timezone="Europe/Paris")
    assert converted.values.to_list() == [None, expected]
    assert converted.failures.is_not_null().to_list() == [False, expected is None]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-03-29T02:30:00", "time_skipped"),
        ("2026-10-25T02:30:00", "time_repeated"),
        ("2026-13-01T02:30:00", "bad_time"),
    ],
)
def test_times_that_a_zone_skips_or_repeats(text: str, reason: str) -> None:
    mixed = pl.Series([text, "2026-06-01T12:00:00", "2026-06-01T12:00:00Z"])
    converted = convert(mixed, "datetime", timezone="Europe/Paris")
    assert converted.failures.to_list() == [reason, None, None]
    assert converted.values.to_list() == [None, at("2026-06-01T10:00:00"), at("2026-06-01T12:00:00")]


def test_a_time_without_a_zone() -> None:
    with pytest.raises(TimeWithoutZone, match=r"2026-03-01 10:00:00.*timezone"):
        convert(pl.Series(["2026-03-01T10:00:00Z", "2026-03-01 10:00:00"]), "datetime")


@pytest.mark.parametrize(
    ("values", "unit", "expected"),
    [
        ([1614948195], "s", at("2021-03-05T12:43:15")),
        ([1614948195829], "ms", at("2021-03-05T12:43:15.829")),
        ([1614948195829981], "us", at("2021-03-05T12:43:15.829981")),
        (["1614948195.829981"], "s", at("2021-03-05T12:43:15.829981")),
        ([1614948195.5], "s", at("2021-03-05T12:43:15.5")),
        ([10**18], "s", None),
    ],
)
def test_numbers_as_times(values: list[Any], unit: Any, expected: datetime | None) -> None:
    assert convert(pl.Series(values), "datetime", unit=unit).values.to_list() == [expected]


def test_a_number_needs_its_unit() -> None:
    with pytest.raises(LoaderError, match="unit"):
        convert(pl.Series([1]), "datetime")


def test_a_format_of_ones_own() -> None:
    converted = convert(
        pl.Series(["01/02/2026 10:00", "32/02/2026 10:00"]), "datetime", timezone="UTC", format="%d/%m/%Y %H:%M"
    )
    assert converted.values.to_list() == [at("2026-02-01T10:00"), None]


@given(
    st.lists(st.datetimes(datetime(1000, 1, 1), datetime(9998, 12, 31)), min_size=1, max_size=20),
    st.sampled_from(["T", " "]),
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
    st.sampled_from(["Z", "+00:00", "+0200", " UTC", "-11:30"]),
)
def test_any_iso_time_with_a_zone(moments: list[datetime], sep: str, precision: str, zone: str) -> None:
    texts = [moment.isoformat(sep, precision) + zone for moment in moments]
    expected = [datetime.fromisoformat(text.replace(" UTC", "Z")).astimezone(UTC) for text in texts]
    assert convert(pl.Series(texts), "datetime").values.to_list() == expected


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2030, 12, 31)), st.sampled_from(["Europe/Paris", "America/New_York"])
)
def test_local_times_agree_with_zoneinfo(moment: datetime, zone: str) -> None:
    moment = moment.replace(microsecond=0)
    info = ZoneInfo(zone)
    both = {moment.replace(tzinfo=info, fold=fold).astimezone(UTC) for fold in (0, 1)}
    real = {m for m in both if m.astimezone(info).replace(tzinfo=None) == moment}
    converted = convert(pl.Series([moment.isoformat()]), "datetime", timezone=zone)
    if len(real) == 1:
        assert converted.values.to_list() == list(real)
    else:
        assert converted.failures.to_list() == ["time_repeated" if real else "time_skipped"]


_MIXED = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["2026-02-28", "2026-02-30", "1969-12-31", "0000-01-01"]),
        st.sampled_from(["T", " "]),
        st.sampled_from(["23:59:59", "23:59:60", "23:59:30", "24:00:00", "10:60", "10:00", "10:00:00", "10:00:60.5"]),
        st.sampled_from(["", "Z", " UTC", "+01:00", "+01:60", "-0530"]),
    ),
)


@given(st.lists(st.one_of(st.none(), _MIXED), min_size=1, max_size=8))
def test_a_time_is_read_alike_beside_any_others(texts: list[str | None]) -> None:
    together = convert(pl.Series(texts, dtype=pl.String), "datetime", timezone="Europe/Paris")
    alone = [convert(pl.Series([text], dtype=pl.String), "datetime", timezone="Europe/Paris") for text in texts]
    assert together.values.to_list() == [one.values.item() for one in alone]
    assert together.failures.to_list() == [one.failures.item() for one in alone]
    assert not [text for text, value in zip(texts, together.values, strict=True) if value and ":60" in str(text)]


@pytest.mark.parametrize("unit", ["ms", "us"])
def test_times_at_the_edges_of_the_years(unit: Literal["ms", "us"]) -> None:
    a_second = 1_000 if unit == "ms" else 1_000_000
    first, last = (int(at(text).timestamp()) * a_second for text in ("0001-01-01", "9999-12-31T23:59:59"))
    inside: list[int | None] = [None, first, 0, last]
    outside = [first - 1, last + a_second]
    cases: list[list[int | None]] = [[], [None], inside, [*inside, *outside], [first - 1], [last + a_second]]
    for values in cases:
        times = pl.Series(values, dtype=pl.Int64).cast(pl.Datetime(unit, "UTC"))
        converted = convert(times, "datetime")
        expected = [None if value in outside else value for value in values]
        assert converted.values.dt.cast_time_unit(unit).to_physical().to_list() == expected
        assert converted.failures.to_list() == ["bad_time" if value in outside else None for value in values]
