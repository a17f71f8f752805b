"""What answers do to whole loads: taken, not taken or in doubt, and everything adds up.

The attacks' table of faults has more of them, each for every route.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from tests.cli.conftest import QuickProject
from tests.support.project import Project, arrived, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox

ROWS = 2_500


def prepare(project: Project, stand_in: RunningSandbox, provider: str, **settings: Any) -> None:
    project.csv(numbered(ROWS))
    chunk = {} if provider == "bloomreach" else {"chunk": 500}
    project.mapping(simple_mapping({**credentials(provider, stand_in.url), **chunk, **settings}))


def settled(project: Project, stand_in: RunningSandbox, provider: str) -> None:
    """All rows have arrived exactly once, and a further run sends nothing."""
    assert sorted(arrived(stand_in.received(provider))) == list(range(1, ROWS + 1))
    again = project.run()
    assert (again.code, again.json["status"]) == (0, "nothing_new")


@pytest.mark.parametrize("provider", ["batch", "bloomreach"])
def test_no_fault(project: Project, stand_in: RunningSandbox, provider: str) -> None:
    prepare(project, stand_in, provider)
    ended = project.run()
    assert (ended.code, ended.json["status"]) == (0, "done")
    assert ended.json["rows"] == {"read": ROWS, "filtered": 0, "rejected": 0, "events": ROWS}
    calls = 5 if provider == "batch" else 50
    destination = ended.json["destinations"][0]
    assert (destination["chunks"], destination["requests"]) == (calls, calls)
    assert destination["tokens"] == (calls if provider == "batch" else 0)
    settled(project, stand_in, provider)


@pytest.mark.parametrize(
    ("provider", "fault", "least_seconds"),
    [
        ("batch", {"kind": "429", "first": 1}, 5.0),
        ("bloomreach", {"kind": "429", "first": 2, "retry_after": 1}, 1.0),
        ("batch", {"kind": "500", "at": [2, 3]}, 0.5),
        ("batch", {"kind": "503", "first": 1}, 0.5),
        ("bloomreach", {"kind": "500", "at": [1, 7]}, 0.5),
    ],
)
def test_not_taken_is_sent_again(
    project: Project, stand_in: RunningSandbox, provider: str, fault: dict[str, Any], least_seconds: float
) -> None:
    prepare(project, stand_in, provider)
    stand_in.faults([fault])
    ended = project.run()
    assert (ended.code, ended.json["status"]) == (0, "done")
    times = [request["at"] for request in stand_in.requests()]
    assert max(b - a for a, b in pairwise(times)) >= least_seconds
    settled(project, stand_in, provider)


@pytest.mark.parametrize("kind", ["lost_answer", "never", "reset_before"])
def test_without_an_answer_bloomreach_is_sent_the_same_bytes_again(
    project: Project, stand_in: RunningSandbox, kind: str
) -> None:
    prepare(project, stand_in, "bloomreach", timeout="1s")
    stand_in.faults([{"kind": kind, "at": [3]}])
    ended = project.run()
    assert (ended.code, ended.json["status"]) == (0, "done")
    requests = stand_in.requests()
    assert len(requests) == 51
    if kind != "reset_before":  # the sandbox has not read that body
        third = next(request["sha256"] for request in requests if request["request"] == 3)
        assert [request["sha256"] for request in requests].count(third) == 2
    settled(project, stand_in, "bloomreach")


@pytest.mark.parametrize(
    ("kind", "stored"),
    [("lost_answer", True), ("reset_before", False)],
)
@pytest.mark.parametrize("decision", ["--resend", "--skip"])
def test_without_an_answer_batch_is_held_until_somebody_decides(
    project: Project, stand_in: RunningSandbox, kind: str, stored: bool, decision: str
) -> None:
    prepare(project, stand_in, "batch", timeout="1s")
    stand_in.faults([{"kind": kind, "at": [2]}])
    ended = project.run()
    assert (ended.code, ended.json["status"]) == (7, "in_doubt")
    assert ended.destination() == {
        "total": ROWS, "already_delivered": 0, "rejected": 0, "sent": ROWS - 500, "in_doubt": 500, "pending": 0,
    }  # fmt: skip
    assert project.run().code == 7, "what is in doubt is not forgotten by the next run"

    resolved = project.loader("resolve", str(project.mapping_path), decision)
    assert resolved.code == 0
    after = project.run()
    numbers = sorted(arrived(stand_in.received("batch")))
    once = list(range(1, ROWS + 1))
    doubted = stand_in.requests()[1]["events"] and once
    assert doubted is not None
    if decision == "--resend":
        assert (after.code, after.json["status"]) == (0, "done")
        assert sorted(set(numbers)) == once
        assert len(numbers) == ROWS + (500 if stored else 0)
    else:
        assert (after.code, after.json["status"]) == (0, "nothing_new")
        assert len(numbers) == ROWS - (0 if stored else 500)
        status = project.loader("status", str(project.mapping_path), "--json").json
        assert status["runs"][-1]["destinations"][0]["events"]["rejected"] == 500


@pytest.mark.parametrize(
    ("provider", "kind"), [("batch", "401"), ("batch", "403"), ("batch", "404"), ("bloomreach", "403")]
)
def test_refused_credentials_stop_at_once(project: Project, stand_in: RunningSandbox, provider: str, kind: str) -> None:
    prepare(project, stand_in, provider, concurrency=1)
    stand_in.faults([{"kind": kind, "at": [2]}])
    ended = project.run()
    assert (ended.code, ended.json["status"]) == (6, "stopped")
    assert len(stand_in.requests()) == 2
    assert project.run().code == 0
    settled(project, stand_in, provider)


def test_wrong_credentials(project: QuickProject, stand_in: RunningSandbox) -> None:
    prepare(project, stand_in, "batch", rest_api_key="not-the-key")
    ended = project.process("run", "load.yaml", "--json")
    assert ended.code == 6
    assert ended.destination()["pending"] == ROWS
    assert "not-the-key" not in ended.err + ended.out
    assert "AUTHENTICATION_INVALID" in ended.err + ended.out


def test_an_outage_is_waited_for_and_then_reported(project: Project, stand_in: RunningSandbox) -> None:
    prepare(project, stand_in, "bloomreach", give_up_after="2s")
    stand_in.faults([{"kind": "503", "probability": 1.0}])
    ended = project.run()
    assert (ended.code, ended.json["status"]) == (5, "stopped")
    assert ended.destination() == {
        "total": ROWS, "already_delivered": 0, "rejected": 0, "sent": 0, "in_doubt": 0, "pending": ROWS,
    }  # fmt: skip
    stand_in.faults([])
    assert project.run().code == 0
    settled(project, stand_in, "bloomreach")


def test_nobody_listens(project: QuickProject, stand_in: RunningSandbox) -> None:
    prepare(project, stand_in, "batch", give_up_after="1s", base_url="http://127.0.0.1:9")
    ended = project.process("run", "load.yaml", "--json")
    assert (ended.code, ended.destination()["in_doubt"], ended.destination()["pending"]) == (5, 0, ROWS)


def test_many_lost_answers_in_a_row_stop_before_everything_is_in_doubt(
    project: Project, stand_in: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loader.sending.pacing.FIRST_WAIT", 0.05)
    project.csv(numbered(ROWS))
    project.mapping(simple_mapping({**credentials("batch", stand_in.url), "chunk": 50, "concurrency": 1}))
    stand_in.faults([{"kind": "html_200", "probability": 1.0}])
    ended = project.run()
    assert (ended.code, ended.json["status"]) == (5, "stopped")
    assert ended.destination()["in_doubt"] == 5 * 50
    assert ended.destination()["pending"] == ROWS - 5 * 50


def test_results_of_commands_are_matched_by_their_id(project: Project, tmp_path: Any) -> None:
    from tests.support.sandbox import sandbox

    with sandbox("--shuffle-results") as stand_in:
        prepare(project, stand_in, "bloomreach")
        stand_in.faults([{"kind": "partial", "at": [1, 5], "share": 0.3}])
        ended = project.run()
        assert (ended.code, ended.json["status"]) == (3, "done")
        numbers = set(arrived(stand_in.received("bloomreach")))
        refused = set(range(1, ROWS + 1)) - numbers
        assert 0 < len(refused) == ended.destination()["rejected"] < 100
        rejects = project.loader("rejects", str(project.mapping_path), "--output", "mended.csv")
        assert rejects.code == 0
        lines = (tmp_path / "mended.csv").read_text().splitlines()
        assert lines[0] == "number,user,at"
        assert {int(line.split(",")[0]) for line in lines[1:]} == refused


def test_a_refused_chunk_is_halved_until_the_bad_event_stands_alone(project: Project, stand_in: RunningSandbox) -> None:
    # The name passes the loader's own checks only because the sandbox's clock makes one event's time too old.
    rows = numbered(64)
    project.csv(rows)
    mapping = simple_mapping({**credentials("batch", stand_in.url), "late_events": "send"})
    mapping["event"]["time"] = {"expr": "at"}
    rows[40][2] = "2026-02-01T10:00:00Z"
    project.csv(rows)
    project.mapping(mapping)
    stand_in.clock("2026-03-01T12:00:00Z")
    ended = project.run()
    assert (ended.code, ended.json["status"]) == (3, "done")
    assert sorted(arrived(stand_in.received("batch"))) == [n for n in range(1, 65) if n != 40]
    assert ended.destination()["rejected"] == 1
    # 64 → 32, 16, 8, 4, 2, 1 on the bad side, and as many good halves.
    assert len(stand_in.requests()) == 1 + 2 * 6
    assert ended.json["destinations"][0]["tokens"] == 6


def test_two_destinations_end_each_in_its_own_way(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(ROWS))
    ios = {**credentials("batch", stand_in.url), "name": "ios"}
    android = {**credentials("batch", stand_in.url), "name": "android", "api_key": "no-such-app"}
    project.mapping(simple_mapping(ios, android))
    ended = project.run()
    assert ended.code == 6
    assert ended.destination("ios")["sent"] == ROWS
    assert ended.destination("android")["pending"] == ROWS
    android["api_key"] = "sandbox-api-key-2"
    project.mapping(simple_mapping(ios, android))
    after = project.run()
    assert (after.code, after.destination("android")["sent"]) == (0, ROWS)
    assert len(stand_in.received("batch")) == 2 * ROWS


def test_what_is_resent_without_being_asked_goes_on_after_an_outage(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(30))
    project.mapping(simple_mapping({**credentials("bloomreach", stand_in.url), "give_up_after": "1s"}))
    stand_in.faults([{"kind": "lost_answer", "probability": 1.0}])
    ended = project.run()
    assert (ended.code, ended.json["status"], ended.destination()["in_doubt"]) == (5, "stopped", 30)
    stand_in.faults([])
    ended = project.run()
    assert (ended.code, ended.json["status"], ended.destination()["sent"]) == (0, "done", 30)
    assert sorted(arrived(stand_in.received("bloomreach"))) == list(range(1, 31))


def test_a_rate_is_used_to_the_full_and_evenly(project: Project, stand_in: RunningSandbox) -> None:
    prepare(project, stand_in, "bloomreach", rate="600/min")
    ended = project.run()
    assert (ended.code, ended.json["status"]) == (0, "done")
    times = [request["at"] for request in stand_in.requests()]
    assert len(times) == 50
    assert 4.9 <= times[-1] - times[0] < 5.6
    gaps = [after - before for before, after in pairwise(times)]
    assert sum(0.05 < gap < 0.15 for gap in gaps) > 40


def test_the_rate_that_was_found_is_named(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(120))
    project.mapping(simple_mapping({**credentials("pushengage", stand_in.url), "late_events": "omit_time"}))
    stand_in.faults([{"kind": "429", "at": [60], "retry_after": 2}])
    ended = project.loader("run", str(project.mapping_path))
    assert ended.code == 0
    assert len(stand_in.received("pushengage")) == 120
    found = re.search(r"pushengage: no rate is published; about (\d+)/s were taken before more was refused", ended.err)
    assert found is not None, ended.err
    # Some sixty in two seconds and a little.
    assert 12 <= int(found[1]) <= 35
    assert f"`rate: {found[1]}/s` in the mapping begins with that" in ended.err
