"""Signals, a plan that was cut short, a second process. Kills at all points of a load: `tests/attack`."""

from __future__ import annotations

import signal
import time

import pytest

from tests.support.project import Project, arrived, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox

ROWS = 4_000


def in_doubt(project: Project) -> int:
    runs = project.loader("status", str(project.mapping_path), "--json").json["runs"]
    return sum(d["events"]["in_doubt"] for run in runs for d in run["destinations"])


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
