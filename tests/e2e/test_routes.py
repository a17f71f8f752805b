"""Every route of every provider, from the command line to the sandbox: what each one promises, holds."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.support.project import Ended, Project, arrived, numbered, simple_mapping
from tests.support.routes import WAYS, Way, destination, prepare
from tests.support.sandbox import RunningSandbox, sandbox

REASON = "sandbox: refused by the partial fault"


every_way = pytest.mark.parametrize("way", WAYS, ids=lambda w: f"{w.provider}-{w.route}-{w.what}")
BATCH = WAYS[0]
APPIZER = WAYS[2]
BLOOMREACH = WAYS[3]
PUSHENGAGE = WAYS[-1]


@pytest.fixture(scope="module")
def patient() -> Iterator[RunningSandbox]:
    """One sandbox for all tests that any number of requests may reach."""
    with sandbox("--appizer-unlimited") as running:
        yield running


@pytest.fixture
def stand_in(patient: RunningSandbox) -> RunningSandbox:
    """The sandbox, knowing of nothing and with the real time."""
    patient.reset()
    patient.clock(None)
    return patient


def users(stand_in: RunningSandbox, provider: str) -> dict[str, list[int]]:
    """The numbers that arrived for each user, in the order of arrival."""
    found: dict[str, list[int]] = defaultdict(list)
    for line in stand_in.received(provider):
        user = line.get("user") or line.get("profile_id") or line["event"].get("user_id")
        found[user] += arrived([line])
    return found


def doubted(project: Project) -> int:
    runs = project.loader("status", str(project.mapping_path), "--json").json["runs"]
    return sum(d["events"]["in_doubt"] for run in runs for d in run["destinations"])


def rejections(project: Project) -> dict[str, dict[str, Any]]:
    """Reason → its rejections, with an example."""
    told = project.loader("rejects", str(project.mapping_path), "--json").json
    return {group["reason"]: group for group in told["rejections"]}


def counts(ended: Ended) -> tuple[int, int, int, int]:
    """Exit code, sent, rejected, in doubt."""
    events = ended.destination()
    return ended.code, events["sent"], events["rejected"], events["in_doubt"]


@every_way
def test_everything_arrives_once_in_order_and_in_as_few_calls_as_there_can_be(
    project: Project, stand_in: RunningSandbox, way: Way
) -> None:
    calls = 40 if way.full == 1 else 4
    rows = way.rows(calls)
    prepare(project, stand_in, way, rows)
    stand_in.faults([{"kind": "slow", "probability": 0.3, "seconds": 0.05}])
    ended = project.run()
    assert counts(ended) == (0, rows, 0, 0)
    assert ended.json["rows"] == {"read": rows, "filtered": 0, "rejected": 0, "events": rows}
    assert sorted(arrived(stand_in.received(way.provider))) == list(range(1, rows + 1))
    told = ended.json["destinations"][0]
    assert told["chunks"] == told["requests"] == len(stand_in.requests()) == calls
    assert told["tokens"] == (calls if way.provider == "batch" else 0)
    if way.ordered:
        assert all(numbers == sorted(numbers) for numbers in users(stand_in, way.provider).values())
    assert project.run().json["status"] == "nothing_new"


@pytest.mark.parametrize("way", [BATCH, APPIZER, WAYS[4], PUSHENGAGE], ids=lambda w: w.provider)
@pytest.mark.parametrize("kind", ["401", "403"])
def test_refused_access_stops_at_once(project: Project, stand_in: RunningSandbox, way: Way, kind: str) -> None:
    prepare(project, stand_in, way, 20, chunk=1, concurrency=1)
    stand_in.faults([{"kind": kind, "at": [3]}])
    ended = project.run()
    assert (*counts(ended), ended.destination()["pending"]) == (6, 2, 0, 0, 18)
    assert len(stand_in.requests()) == 3
    assert f"HTTP {kind}" in ended.err


@pytest.mark.parametrize("way", [APPIZER, PUSHENGAGE], ids=lambda w: w.provider)
def test_without_a_field_for_times_nothing_is_sent_until_somebody_decides(
    project: Project, stand_in: RunningSandbox, way: Way
) -> None:
    prepare(project, stand_in, way, 30, late_events="send")
    checked = project.loader("check", str(project.mapping_path))
    assert checked.code == 2
    assert "no field for a time" in checked.err + checked.out

    prepare(project, stand_in, way, 30, late_events="stop")
    stopped = project.run()
    assert stopped.code == 2
    for word in ("30", "reject", "omit_time"):
        assert word in stopped.err
    assert "`send`" not in stopped.err
    assert " send (" not in stopped.err

    prepare(project, stand_in, way, 30, late_events="reject")
    assert counts(project.run()) == (3, 0, 30, 0)
    assert stand_in.requests() == []
    prepare(project, stand_in, way, 30)
    assert counts(project.run("--again")) == (0, 30, 0, 0)


def test_every_destination_with_late_events_is_named_at_once(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(30))
    ways = [BATCH, APPIZER, PUSHENGAGE]
    project.mapping(simple_mapping(*(destination(way, stand_in, late_events="stop") for way in ways)))
    stopped = project.run()
    assert stopped.code == 2
    for words in (
        "batch: 30 of 30 events are not within the last 24 hours",
        "appizer: 30 of 30 events have a time",
        "pushengage: 30 of 30 events have a time",
        "  send       batch alone: ",
    ):
        assert words in stopped.err
    shown = project.loader("preview", str(project.mapping_path), "-n", "1")
    assert shown.out.count("a plan stops here until `late_events:` says what to do") == 3
    assert stand_in.requests() == []


def test_a_time_that_is_never_sent_need_not_be_there(project: Project, stand_in: RunningSandbox) -> None:
    rows = numbered(10)
    rows[3][2] = ""
    project.csv(rows)
    project.mapping(simple_mapping(destination(APPIZER, stand_in), destination(BLOOMREACH, stand_in)))
    ended = project.run()
    assert (ended.destination("appizer")["sent"], ended.destination("bloomreach")["sent"]) == (10, 9)
    assert rejections(project)["missing_time"]["destination"] == "bloomreach"


def test_events_without_a_property_go_where_somebody_wants_them(project: Project) -> None:
    rows = numbered(10)
    rows[3][0] = ""
    with sandbox("--bloomreach-empty-properties") as running:
        prepare(project, running, BLOOMREACH, rows)
        assert counts(project.run()) == (3, 9, 1, 0)
        assert (
            "`empty_properties: send` sends it all the same" in rejections(project)["bad_value"]["example"]["message"]
        )
        prepare(project, running, BLOOMREACH, rows, empty_properties="send")
        assert counts(project.run("--again")) == (0, 10, 0, 0)


def test_events_that_leave_the_window_between_plan_and_send(project: Project, stand_in: RunningSandbox) -> None:
    now = datetime.now(UTC)
    # The loader keeps a minute for the way.
    soon_late = now - timedelta(hours=24) + timedelta(seconds=60 + 4)
    rows = numbered(10)
    for number, row in enumerate(rows[1:], 1):
        row[2] = (soon_late if number % 2 else now - timedelta(hours=1)).isoformat()
    prepare(project, stand_in, BATCH, rows, late_events="stop")
    planned = project.loader("plan", str(project.mapping_path), "--json")
    assert (planned.code, planned.destination()["pending"]) == (0, 10)
    time.sleep(max(0.0, 4.5 - (datetime.now(UTC) - now).total_seconds()))
    assert counts(project.run()) == (3, 5, 5, 0)
    assert sorted(arrived(stand_in.received("batch"))) == [2, 4, 6, 8, 10]
    assert rejections(project)["too_old"]["count"] == 5


def test_two_destinations_have_a_plan_and_a_progress_each(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(90))
    ios = destination(BATCH, stand_in, name="ios", chunk=30)
    android = destination(WAYS[1], stand_in, name="android", chunk=10, api_key="no-such-app")
    project.mapping(simple_mapping(ios, android))
    ended = project.run()
    assert ended.code == 6
    assert (ended.destination("ios")["sent"], ended.destination("android")["pending"]) == (90, 90)
    parts = (project.folder / ".loader" / "load" / "runs" / ended.json["run"]).glob("*/*.parquet")
    assert {part.parent.name for part in parts} == {"android", "ios"}
    android["api_key"] = "sandbox-api-key-2"
    project.mapping(simple_mapping(ios, android))
    before = len(stand_in.requests())
    after = project.run()
    assert (after.code, after.json["run"], after.destination("android")["sent"]) == (0, ended.json["run"], 90)
    again = stand_in.requests()[before:]
    # Seven users, each with 12 or 13 events, 10 in a call.
    assert (len(again), sum(request["events"] for request in again)) == (14, 90)
    by_key = [line["api_key"] for line in stand_in.received("batch")]
    assert (by_key.count("sandbox-api-key"), by_key.count("sandbox-api-key-2")) == (90, 90)


def test_a_shortfall_is_in_doubt_with_both_numbers_and_nothing_sends_it_again_by_itself(
    project: Project, stand_in: RunningSandbox
) -> None:
    prepare(project, stand_in, APPIZER, 230)
    stand_in.faults([{"kind": "short", "at": [2]}])
    ended = project.loader("run", str(project.mapping_path))
    assert ended.code == 7
    status = project.loader("status", str(project.mapping_path))
    assert all("processed_count 99 for 100 events" in told for told in (ended.out, status.out))
    stand_in.faults([])
    assert project.run().code == 7
    assert doubted(project) == 100
    assert len(stand_in.requests()) == 3
    assert project.loader("resolve", str(project.mapping_path), "--skip").code == 0
    assert project.run().json["status"] == "nothing_new"
    assert len(arrived(stand_in.received("appizer"))) == 229
    assert rejections(project)["skipped"]["count"] == 100


def test_appizer_is_asked_no_more_often_than_it_allows(project: Project) -> None:
    with sandbox() as strict:
        prepare(project, strict, APPIZER, 60, chunk=10, rate=None)
        assert counts(project.run()) == (0, 60, 0, 0)
        times = [request["at"] for request in strict.requests()]
        assert strict.state()["answers"] == {"200": 6}
    assert all(0.5 < later - earlier < 1.5 for earlier, later in pairwise(times))


@pytest.mark.parametrize("way", [BATCH, APPIZER, WAYS[4], PUSHENGAGE], ids=lambda w: w.provider)
def test_a_wait_that_the_provider_asks_for_is_kept(project: Project, stand_in: RunningSandbox, way: Way) -> None:
    prepare(project, stand_in, way, 6, chunk=1, concurrency=1)
    # Appizer asks in the body (`details.retry_after`), the others in a header; Batch never for less than 5 s.
    stand_in.faults([{"kind": "429", "first": 1, "retry_after": 1}])
    assert counts(project.run()) == (0, 6, 0, 0)
    first, second, *others = stand_in.requests()
    assert (first["status"], second["sha256"], len(others)) == (429, first["sha256"], 5)
    assert (5 if way is BATCH else 1) <= second["at"] - first["at"] < 7


@pytest.mark.parametrize("route", ["bulk", "single"])
def test_a_bad_event_of_a_thousand_costs_batch_few_calls_and_every_part_keeps_its_token(
    project: Project, stand_in: RunningSandbox, route: str
) -> None:
    way = Way("batch", route, 1000)
    rows = numbered(1000, users=1)
    rows[700][2] = "2026-02-01T10:00:00Z"
    prepare(project, stand_in, way, rows, late_events="send")
    stand_in.clock("2026-03-01T12:00:00Z")
    ended = project.run()
    assert counts(ended) == (3, 999, 1, 0)
    assert len(stand_in.requests()) <= 1 + 2 * math.ceil(math.log2(1000))
    assert arrived(stand_in.received("batch")) == [n for n in range(1, 1001) if n != 700]
    taken = {line["token"] for line in stand_in.received("batch")}
    told = project.loader("tokens", str(project.mapping_path), "--json").json["tokens"]
    assert sorted(line["token"] for line in told) == sorted(taken)
    assert sum(line["events"] for line in told) == 999
    assert rejections(project)["refused"]["example"]["row"] == 700


@pytest.mark.parametrize(
    ("way", "form", "words"),
    [
        (WAYS[3], "documented", REASON),
        (WAYS[4], "text", REASON),
        (WAYS[4], "list", REASON),
        (WAYS[4], "object", f"_global: {REASON}"),
        (WAYS[6], "text", REASON),
        (PUSHENGAGE, "documented", f"event_name: {REASON}"),
    ],
)
def test_refused_events_are_rejections_in_the_providers_words(
    project: Project, way: Way, form: str, words: str
) -> None:
    with sandbox("--bloomreach-errors", form) as stand_in:
        prepare(project, stand_in, way, 60)
        stand_in.faults([{"kind": "partial", "share": 0.2}])
        ended = project.run()
        code, sent, rejected, _ = counts(ended)
        assert (code, sent + rejected) == (3, 60)
        assert 0 < rejected < 40
        assert len(arrived(stand_in.received(way.provider))) == sent
        assert len(stand_in.requests()) == ended.json["destinations"][0]["chunks"], "what is refused is not sent again"
    refused = rejections(project)["refused"]
    assert refused["count"] == rejected
    assert refused["example"]["message"].endswith(words)


@pytest.mark.parametrize(
    ("way", "rows", "words"),
    [
        (WAYS[3], 100_000, None),
        (WAYS[3], 100_001, "not for high-volume imports"),
        (WAYS[4], 1_000, None),
        (WAYS[4], 1_001, "strongly prohibits large volumes"),
    ],
)
def test_a_plan_warns_of_volumes_that_bloomreach_does_not_want(
    project: Project, stand_in: RunningSandbox, way: Way, rows: int, words: str | None
) -> None:
    prepare(project, stand_in, way, rows)
    planned = project.loader("plan", str(project.mapping_path))
    assert planned.code == 0
    warned = [line for line in planned.out.splitlines() if line.startswith("bloomreach: ")]
    assert len(warned) == (words is not None)
    assert all(str(words) in line for line in warned)
    assert stand_in.requests() == []


@every_way
def test_a_preview_shows_the_request_that_will_be_sent(project: Project, stand_in: RunningSandbox, way: Way) -> None:
    prepare(project, stand_in, way, 3)
    shown = project.loader("preview", str(project.mapping_path), "-n", "1", "--json").json
    [payload] = shown["rows"][0]["destinations"]
    keys = {
        ("batch", "bulk"): {"id", "events"},
        ("batch", "single"): {"events"},
        ("appizer", "batch"): {"events"},
        ("bloomreach", "batch"): {"commands"},
        ("bloomreach", "single"): {"event_type", "customer_ids", "timestamp", "properties"},
        ("pushengage", "single"): {"event_name", "profile_id", "data"},
    }[way.provider, way.route]
    if (way.route, way.what) == ("single", "customer"):
        keys = {"customer_ids", "update_timestamp", "properties"}
    request = payload["request"]
    assert set(request[0] if isinstance(request, list) else request) == keys
