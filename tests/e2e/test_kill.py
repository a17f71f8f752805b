"""Killed at random instants, a load goes on: nothing is lost, and only what was in flight can arrive twice.

The long form: LOADER_TEST_KILLS=200 pytest tests/e2e/test_kill.py
"""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.support.project import Project, arrived, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox

KILLS = int(os.environ.get("LOADER_TEST_KILLS", "8"))
ROWS = 4_000


def killed_until_done(project: Project, stand_in: RunningSandbox, chance: random.Random, policy: str) -> int:
    """Run and kill until the load ends by itself; how many kills it took. Held chunks are left for the caller."""
    kills = 0
    for _ in range(30):
        before = stand_in.state()["requests"]
        at_request = chance.randint(0, 12)
        extra = chance.uniform(0, 0.02)
        armed: list[float] = []

        def reached() -> bool:
            if chance.random() < 0.002:
                return True
            seen = sum(stand_in.state()["requests"].values()) - sum(before.values())
            if seen >= at_request and not armed:
                armed.append(time.monotonic() + extra)
            return bool(armed) and time.monotonic() >= armed[0]

        code = project.killed_run(reached) if kills < KILLS else project.run().code
        if code != -signal.SIGKILL:
            assert code == (7 if policy == "hold" and in_doubt(project) else 0)
            return kills
        kills += 1
    raise AssertionError("the load never ended")


def in_doubt(project: Project) -> int:
    runs = project.loader("status", str(project.mapping_path), "--json").json["runs"]
    return sum(d["events"]["in_doubt"] for run in runs for d in run["destinations"])


@pytest.mark.parametrize("seed", [1, 2])
def test_bloomreach_gets_everything_once(project: Project, stand_in: RunningSandbox, seed: int) -> None:
    project.csv(numbered(ROWS))
    project.mapping(simple_mapping(credentials("bloomreach", stand_in.url)))
    stand_in.faults([{"kind": "slow", "probability": 0.5, "seconds": 0.02, "seed": seed}])
    kills = killed_until_done(project, stand_in, random.Random(seed), "resend")
    assert kills >= min(3, KILLS)
    # The sandbox removes duplicates as the provider does; what counts is that a resend was the same bytes.
    assert sorted(arrived(stand_in.received("bloomreach"))) == list(range(1, ROWS + 1))


@pytest.mark.parametrize("seed", [3, 4])
def test_batch_doubles_nothing_and_loses_nothing(project: Project, stand_in: RunningSandbox, seed: int) -> None:
    project.csv(numbered(ROWS))
    project.mapping(simple_mapping({**credentials("batch", stand_in.url), "chunk": 50}))
    stand_in.faults([{"kind": "slow", "probability": 0.5, "seconds": 0.02, "seed": seed}])
    kills = killed_until_done(project, stand_in, random.Random(seed), "hold")
    assert kills >= min(3, KILLS)
    numbers = arrived(stand_in.received("batch"))
    assert len(numbers) == len(set(numbers)), "held chunks were sent again"
    missing = ROWS - len(numbers)
    doubted = in_doubt(project)
    # 8 requests at once, 50 events each: no more can be in doubt for each kill.
    assert missing <= doubted <= kills * 8 * 50
    if doubted:
        assert project.loader("resolve", str(project.mapping_path), "--resend").code == 0
        assert project.run().code == 0
    assert set(arrived(stand_in.received("batch"))) == set(range(1, ROWS + 1))
    assert in_doubt(project) == 0


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_polite_signal_leaves_nothing_in_doubt(
    project: Project, stand_in: RunningSandbox, how: signal.Signals, code: int
) -> None:
    project.csv(numbered(ROWS))
    project.mapping(simple_mapping({**credentials("batch", stand_in.url), "chunk": 50}))
    stand_in.faults([{"kind": "slow", "probability": 1.0, "seconds": 0.05}])
    assert project.killed_run(lambda: stand_in.state()["requests"].get("batch", 0) >= 10, how) == code
    assert in_doubt(project) == 0
    assert 0 < len(arrived(stand_in.received("batch"))) < ROWS
    stand_in.faults([])
    assert project.run().code == 0
    assert sorted(arrived(stand_in.received("batch"))) == list(range(1, ROWS + 1))


def test_a_signal_while_planning_keeps_nothing(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(400_000))
    project.mapping(simple_mapping(credentials("bloomreach", stand_in.url)))
    runs = project.folder / ".loader" / "load" / "runs"
    assert project.killed_run(lambda: runs.exists() and any(runs.iterdir()), signal.SIGTERM) == 143
    assert list(runs.iterdir()) == []
    assert stand_in.state()["requests"].get("bloomreach", 0) == 0


def test_a_plan_that_was_cut_short_is_made_anew(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(100_000))
    project.mapping(simple_mapping({**credentials("batch", stand_in.url)}))
    runs = project.folder / ".loader" / "load" / "runs"
    assert project.killed_run(lambda: runs.exists() and any(runs.iterdir())) == -signal.SIGKILL
    cut = [path.name for path in runs.iterdir()]
    project.csv(numbered(100))
    ended = project.run()
    assert (ended.code, ended.destination()["sent"]) == (0, 100)
    assert ended.json["run"] not in cut
    assert [path.name for path in runs.iterdir()] == [ended.json["run"]]


def test_a_second_process_is_told_who_holds_the_state(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(500))
    project.mapping(simple_mapping({**credentials("batch", stand_in.url), "chunk": 50, "concurrency": 1}))
    stand_in.faults([{"kind": "slow", "probability": 1.0, "seconds": 0.3}])
    with project.start("run", str(project.mapping_path), "--json") as first:
        while stand_in.state()["requests"].get("batch", 0) < 1:
            time.sleep(0.01)
        second = project.run()
        assert second.code == 8
        assert f"process {first.pid}" in second.err
        status = project.loader("status", str(project.mapping_path), "--json")
        assert status.code == 0, "status reads while a run is under way"
        first.communicate(timeout=60)
    assert first.returncode == 0
    assert len(stand_in.received("batch")) == 500
