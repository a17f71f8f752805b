"""What every provider and route keeps to, whichever it is. The documents' answers are in `contracts`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from loader.plan import Room, by_user, chunk_ends, encode, keeps_users_together
from loader.providers import PROVIDERS
from loader.providers.base import Answer, Outcome, Provider, Request, Route
from loader.rejection import ROW
from tests.providers.contracts import CONTRACTS, Contract, answer
from tests.providers.outside import ACME_CONTRACT, acme

ACME = acme()
SUBJECTS = [(provider, route) for provider in [*PROVIDERS.values(), ACME] for route in provider.routes]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
# Rows that were filtered or rejected leave gaps.
ROWS = [3, 4, 70, 5_000_000_000]
HTML = b"<html><body>502 Bad Gateway</body></html>"

every_route = pytest.mark.parametrize(
    ("provider", "route"), SUBJECTS, ids=[f"{provider.name}-{route.name}" for provider, route in SUBJECTS]
)
every_kind = pytest.mark.parametrize(
    ("provider", "route", "kind"),
    [
        pytest.param(provider, route, kind, id=f"{provider.name}-{route.name}-{kind}")
        for provider, route in SUBJECTS
        for kind in sorted(route.takes)
    ],
)


def contract(provider: Provider, route: Route) -> Contract:
    if provider is ACME:
        return ACME_CONTRACT
    assert (provider.name, route.name) in CONTRACTS, f"{provider.name} {route.name}: no contract in contracts.py"
    return CONTRACTS[provider.name, route.name]


def some_rows(route: Route) -> list[int]:
    return ROWS[: route.events_per_call]


@dataclass(frozen=True)
class Chunk:
    """A chunk as it is sent: its events' numbers and users, and the request."""

    numbers: list[int]
    users: list[str]
    texts: list[str]
    ids: list[str | None]
    request: Request


def chunks(provider: Provider, route: Route, frame: pl.DataFrame) -> list[Chunk]:
    """The events of a frame that pass the checks, cut as the plan cuts them, as requests."""
    columns = {name: dtype for name, dtype in frame.schema.items() if name != ROW}
    coded = encode(frame, route.encode(columns), None, "send", NOW).events
    coded = by_user(coded) if keeps_users_together(route) else coded
    texts, ids = coded.get_column("event").to_list(), coded.get_column("user").to_list()
    by_row = dict(frame.select(ROW, pl.struct("user", "properties.n")).iter_rows())
    happened = [by_row[row] for row in coded.get_column("row")]
    ends = chunk_ends([len(text.encode()) for text in texts], ids, Room.of(route, None))
    start, found = 0, []
    given_settings = provider.settings.model_validate({"provider": provider.name, **contract(provider, route).settings})
    for end in ends:
        part = slice(start, end)
        body = route.envelope.body(ids[part], texts[part])
        request = route.request(given_settings, body, ids[start])
        numbers, users = ([one[key] for one in happened[part]] for key in ("properties.n", "user"))
        found.append(Chunk(numbers, users, texts[part], ids[part], request))
        start = end
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({key for key, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


def parsed(body: bytes) -> Any:
    """A body as JSON. A key that is there twice, NaN and infinity fail."""

    def refuse(constant: str) -> None:
        pytest.fail(constant)

    return json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=refuse)


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All keys and values of a JSON value, in order."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, key)
    else:
        yield key, value


HOSTILE = st.one_of(
    st.sampled_from(
        [
            "00123",
            "null",
            'a"b',
            "\\",
            "é" * 40,
            "\u2028",
            "\x00",
            "a/b?c#d",
            "%2e",
            "..",
            "😀",
            "{value}",
            ' " ',
            "ue.x",
        ]
    ),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
).filter(lambda text: bool(text.strip()))
NAMES = st.one_of(st.just("purchase"), HOSTILE)
VALUES: dict[str, tuple[pl.DataType, st.SearchStrategy[Any]]] = {
    "integer": (pl.Int64(), st.integers(-(2**63), 2**63 - 1)),
    "number": (pl.Float64(), st.floats(allow_nan=False, allow_infinity=False)),
    "exact": (pl.Decimal(38, 2), st.decimals(-(10**20), 10**20, places=2, allow_nan=False).map(Decimal)),
    "yes": (pl.Boolean(), st.booleans()),
    "moment": (pl.Datetime("us", "UTC"), st.datetimes().map(lambda moment: moment.replace(tzinfo=UTC))),
    "day": (pl.Date(), st.dates(date.min, date.max)),
    "many": (pl.List(pl.String), st.lists(HOSTILE, max_size=3)),
    "inner": (pl.Struct({"k": pl.String}), st.fixed_dictionaries({"k": st.none() | HOSTILE})),
}


@st.composite
def frames(draw: st.DrawFn, provider: Provider, route: Route, kind: str) -> pl.DataFrame:
    """Events of few users with hostile texts, in all columns that the route has no problem with."""
    height = draw(st.integers(1, 2 * min(route.events_per_call, 20) + 1))

    def column(name: str, dtype: pl.DataType, values: st.SearchStrategy[Any]) -> None:
        found[name] = pl.Series(name, draw(st.lists(values, min_size=height, max_size=height)), dtype, strict=False)

    found: dict[str, pl.Series] = {ROW: pl.Series(ROW, range(5, 5 + 3 * height, 3), pl.UInt64)}
    column("user", pl.String(), st.sampled_from(draw(st.lists(HOSTILE, min_size=1, max_size=4))))
    if kind == "event":
        column("name", pl.String(), NAMES)
    if draw(st.booleans()):
        column("time", pl.Datetime("us", "UTC"), st.datetimes().map(lambda moment: moment.replace(tzinfo=UTC)))
    for name in draw(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), max_size=2)):
        if name in ("n", "t"):
            continue
        if provider.id_types is None:
            column(f"ids.{name}", pl.String(), st.none() | HOSTILE)
        column(f"properties.{name}", pl.String(), st.none() | HOSTILE)
    for name, field in provider.fields.items() if kind == "event" else ():
        values = HOSTILE if field.kind == "text" else st.lists(HOSTILE, min_size=1, max_size=3)
        column(name, pl.String() if field.kind == "text" else pl.List(pl.String), st.none() | values)
    for name, (dtype, values) in VALUES.items():
        column(f"properties.{name}", dtype, st.none() | values)
    column("properties.t", pl.String(), HOSTILE)
    found["properties.n"] = pl.Series("properties.n", range(height), pl.Int64)
    never = {name for name, _ in route.problems({name: series.dtype for name, series in found.items() if name != ROW})}
    assert not never & {"user", "name", "time", "properties.t", "properties.n"}
    return pl.DataFrame([series for name, series in found.items() if name not in never])


@every_kind
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_hostile_events_arrive_as_they_are(provider: Provider, route: Route, kind: str, data: st.DataObject) -> None:
    frame = data.draw(frames(provider, route, kind))
    texts = frame.get_column("properties.t").to_list()
    sent = chunks(provider, route, frame)
    for chunk in sent:
        within_limits(route, chunk)
        body = parsed(chunk.request.body)
        arrived = list(leaves(body))
        numbers = [value for key, value in arrived if key == "n"]
        assert sorted(numbers) == sorted(chunk.numbers)
        user_of = dict(zip(chunk.numbers, chunk.users, strict=True))
        for user in set(chunk.users):
            of_user = [number for number in numbers if user_of[number] == user]
            assert of_user == sorted(of_user)
        strings = [value for _, value in arrived if isinstance(value, str)]
        assert [value for key, value in arrived if key == "t"] == [texts[number] for number in numbers]
        segments = [unquote(part) for part in urlsplit(chunk.request.url).path.split("/")]
        assert set(chunk.users) <= {*strings, segments[-1]}
        assert "" not in segments[1:]
        assert not {".", ".."} & set(segments)
    assert [(c.request.url, c.request.body) for c in chunks(provider, route, frame)] == [
        (c.request.url, c.request.body) for c in sent
    ]


def within_limits(route: Route, chunk: Chunk) -> None:
    """The limits, and that a body is as long as the plan thinks."""
    body, users = chunk.request.body, set(chunk.ids)
    assert 0 < len(chunk.texts) <= route.events_per_call
    assert route.bytes_per_call is None or len(body) <= route.bytes_per_call
    assert route.users_per_call is None or len(users) <= route.users_per_call
    expected = len(route.envelope) + sum(len(text.encode()) for text in chunk.texts) + len(chunk.texts) - 1
    if route.envelope.user is not None:
        expected += sum(route.envelope.user_bytes + len((user or "").encode()) for user in users)
    assert len(body) == expected


@every_kind
def test_a_user_is_never_another_place(provider: Provider, route: Route, kind: str) -> None:
    users = [".", "..", "a/b", "/", "?", "#", "%2e%2e", "a b", "+", "00123", "é", "null", ";", "\\", "\x00", "\r\n."]
    columns = {ROW: range(len(users)), "user": users, "name": "purchase", "properties.n": range(len(users))}
    frame = pl.DataFrame(columns, schema_overrides={ROW: pl.UInt64}).drop("name" if kind == "customer" else [])
    for chunk in chunks(provider, route, frame):
        segments = [unquote(part) for part in urlsplit(chunk.request.url).path.split("/")]
        assert not {".", ".."} & set(segments)
        strings = [value for _, value in leaves(parsed(chunk.request.body)) if isinstance(value, str)]
        assert set(chunk.users) <= {*strings, segments[-1]}
        assert chunk.request.url.isascii()
        assert chunk.request.url.isprintable()


@every_kind
@pytest.mark.parametrize(("size", "properties"), [(1, 8), (400, 8), (15_000, 40), (900_000, 8), (1_100_000, 10)])
def test_no_limit_is_passed_by_full_chunks(
    provider: Provider, route: Route, kind: str, size: int, properties: int
) -> None:
    height = max(3, min(2 * route.events_per_call + 1, 24_000_000 // size // properties))
    number = pl.int_range(height, eager=True)
    columns = {
        ROW: (number + 1).cast(pl.UInt64),
        "user": pl.select(pl.concat_str(pl.lit("u"), number % 7)).to_series(),
        "name": pl.repeat("purchase", height, eager=True),
        "properties.n": number,
    }
    for at in range(properties):
        columns[f"properties.t{at}"] = pl.repeat("é" * (size // 2) + "x" * at, height, eager=True)
    if kind == "customer":
        del columns["name"]
    frame = pl.DataFrame(columns)
    sent = chunks(provider, route, frame)
    for chunk in sent:
        within_limits(route, chunk)
    if size == 1 and route.users_per_call is None:
        assert len(sent[0].numbers) == route.events_per_call


@every_kind
@pytest.mark.parametrize("more", [0, 1])
def test_an_event_that_just_fills_a_call(provider: Provider, route: Route, kind: str, more: int) -> None:
    if route.bytes_per_call is None:
        return
    frame = pl.DataFrame({ROW: [1], "user": ["u"], "name": ["n"], "properties.n": [0], "properties.t": [""]})
    frame = frame.drop("name" if kind == "customer" else []).cast({ROW: pl.UInt64})
    [small] = chunks(provider, route, frame)
    free = route.bytes_per_call - len(small.request.body)
    for chunk in chunks(provider, route, frame.with_columns(pl.lit("x" * (free + more)).alias("properties.t"))):
        within_limits(route, chunk)


@every_route
def test_success_is_the_documents_own_answer_only(provider: Provider, route: Route) -> None:
    rows = some_rows(route)
    taken = contract(provider, route).taken(rows)
    receipt = route.read(taken, rows)
    assert (receipt.outcome, receipt.refused) == (Outcome.TAKEN, {})
    cut = [taken.body[:length] for length in range(len(taken.body))]
    others = [*cut, HTML, b"[]", b"{}", b"null", b"1", b'"ok"', b"true", b"\xff"]
    assert {route.read(Answer(taken.status, {}, body), rows).outcome for body in others} == {Outcome.IN_DOUBT}


@every_route
@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, Outcome.REFUSED),
        (401, Outcome.STOPPED),
        (403, Outcome.STOPPED),
        (404, Outcome.STOPPED),
        (429, Outcome.NOT_TAKEN),
        (500, Outcome.NOT_TAKEN),
        (503, Outcome.NOT_TAKEN),
    ],
)
def test_the_documents_errors(provider: Provider, route: Route, status: int, outcome: Outcome) -> None:
    rows = some_rows(route)
    failed = answer(status, contract(provider, route).failure(status), retry_after="7")
    receipt = route.read(failed, rows)
    assert receipt.outcome is outcome
    assert receipt.message.startswith(f"HTTP {status}") or outcome is Outcome.REFUSED
    assert receipt.message
    assert receipt.wait == (7.0 if outcome is Outcome.NOT_TAKEN and receipt.wait is not None else None)
    assert receipt.wait is not None or status != 429


@every_route
@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (answer(500, HTML), Outcome.IN_DOUBT),
        (answer(502, HTML), Outcome.IN_DOUBT),
        (answer(503, HTML), Outcome.IN_DOUBT),
        (answer(504, HTML), Outcome.IN_DOUBT),
        (answer(408, HTML), Outcome.IN_DOUBT),
        (answer(299, {}), Outcome.IN_DOUBT),
        (answer(401, HTML), Outcome.STOPPED),
        (answer(302, b"", location="https://elsewhere.example/key"), Outcome.STOPPED),
        (answer(308, b"", location="/key"), Outcome.STOPPED),
        (answer(307, b""), Outcome.STOPPED),
        (answer(413, HTML), Outcome.REFUSED),
        (answer(429, HTML), Outcome.NOT_TAKEN),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else "",
)
def test_what_stands_between(provider: Provider, route: Route, given: Answer, outcome: Outcome) -> None:
    receipt = route.read(given, some_rows(route))
    assert receipt.outcome is outcome
    assert receipt.message.startswith(f"HTTP {given.status}")


@every_route
def test_refusals_reach_the_right_rows(provider: Provider, route: Route) -> None:
    refusing = contract(provider, route).refusing
    if refusing is None:
        return
    rows = list(range(10, 10 + 7 * route.events_per_call, 7))
    for positions in ([0], [len(rows) - 1], [1, 3, 4], range(len(rows))):
        receipt = route.read(refusing(rows, positions), rows)
        assert receipt.outcome is Outcome.TAKEN
        assert sorted(receipt.refused) == list(positions)
        assert all(receipt.refused.values())


@every_route
def test_no_text_shows_a_secret(provider: Provider, route: Route) -> None:
    known = contract(provider, route)
    given_settings = provider.settings.model_validate({"provider": provider.name, **known.settings})
    request = route.request(given_settings, route.envelope.body(['"u"'], ['{"n":1}']), '"u"')
    rows = some_rows(route)
    answers = [known.taken(rows), *(answer(status, known.failure(status)) for status in (400, 401, 404, 429, 500))]
    answers += [answer(302, b"", location=request.url), answer(302, b"", location=urlsplit(request.url).path)]
    receipts = [route.read(one, rows) for one in answers]
    shown = f"{given_settings!r} {given_settings} {request!r} {request} {receipts!r} {provider!r} {route.limits!r}"
    assert [value for value in known.settings.values() if value in shown] == []
    fields = {**provider.settings.model_fields}
    assert {name for name in fields if isinstance(getattr(given_settings, name), SecretStr)} <= set(provider.secrets)
    assert set(provider.secrets) <= set(fields)


@every_route
def test_limits_tell_their_page_and_day(provider: Provider, route: Route) -> None:
    values = [limit.value for limit in route.limits]
    assert route.events_per_call in values
    assert route.bytes_per_call is None or route.bytes_per_call in values
    assert route.rate is None or round(route.rate * 60) in values
    for limit in route.limits:
        assert limit.page.startswith("https://") or "the loader's own" in limit.page
        assert datetime.fromisoformat(limit.read)
    assert route.warning(0) is None
    assert route.in_doubt({}) == "hold"
