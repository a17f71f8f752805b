"""States of runs and what leads from one to another: nothing is forgotten, nothing is known that was not delivered."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
import sqlalchemy as sa

from loader import pipeline
from loader.plan import Planner
from tests.cli.conftest import QuickProject
from tests.support.project import Project, arrived, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox


def batch(stand_in: RunningSandbox, name: str = "ios", **more: Any) -> dict[str, Any]:
    key = {"ios": "sandbox-api-key", "android": "sandbox-api-key-2"}.get(name, "sandbox-api-key")
    return {**credentials("batch", stand_in.url), "name": name, "api_key": key, **more}


@pytest.mark.parametrize("signals", [2, 6])
def test_a_second_signal_leaves_what_is_under_way_in_doubt_and_the_next_run_knows(
    project: QuickProject, stand_in: RunningSandbox, signals: int
) -> None:
    project.csv(numbered(40, users=40))
    project.mapping(simple_mapping(batch(stand_in, chunk=10)))
    stand_in.faults([{"kind": "never"}])
    with project.start("run", str(project.mapping_path), "--json") as process:
        deadline = time.monotonic() + 30
        while stand_in.state()["requests"].get("batch", 0) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        for _ in range(signals - 1):
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    # With many, one finds Python itself at its end.
    assert process.returncode == 130 if signals == 2 else process.returncode in (130, -signal.SIGINT)
    stand_in.faults([])
    assert project.process("run", "load.yaml").code == 7
    assert project.loader("resolve", str(project.mapping_path), "--resend").code == 0
    assert project.run().destination()["sent"] == 40


@pytest.mark.parametrize("ids", [False, True])
def test_a_plan_with_again_that_is_dropped_leaves_what_was_delivered_known(
    project: Project, stand_in: RunningSandbox, ids: bool
) -> None:
    project.csv(numbered(20))
    mapping = simple_mapping(batch(stand_in))
    if ids:
        mapping["event"]["id"] = "number"
    project.mapping(mapping)
    assert project.run().code == 0
    for _ in range(2):
        assert project.loader("plan", str(project.mapping_path), "--again", "--json").destination()["pending"] == 20
    assert project.loader("cancel", str(project.mapping_path), "--yes").code == 0
    if ids:
        project.csv(numbered(21))
    assert project.run().code == 0
    assert sorted(arrived(stand_in.received("batch"))) == list(range(1, 22 if ids else 21))


def test_a_plan_is_kept_where_no_new_one_can_be_made(project: Project, stand_in: RunningSandbox) -> None:
    source = project.csv(numbered(20))
    project.mapping(simple_mapping(batch(stand_in)))
    assert project.loader("plan", str(project.mapping_path)).code == 0
    source.write_bytes(b"")
    assert project.loader("plan", str(project.mapping_path)).code == 2
    ended = project.run()
    assert (ended.json["status"], ended.destination()["sent"]) == ("done", 20)


def test_a_plan_of_which_nothing_was_sent_is_made_anew(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(20))
    project.mapping(simple_mapping(batch(stand_in)))
    first = project.loader("plan", str(project.mapping_path), "--json")
    project.csv(numbered(30))
    second = project.loader("plan", str(project.mapping_path), "--json")
    assert (second.code, second.destination()["pending"]) == (0, 30)
    assert first.json["run"] != second.json["run"]
    assert project.run().destination()["sent"] == 30


def test_stop_after_holds_for_events_that_are_sent_again(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(100))
    project.mapping(
        simple_mapping({**credentials("bloomreach", stand_in.url), "give_up_after": "1s", "rate": "10000/s"})
    )
    stand_in.faults([{"kind": "502_html"}])
    assert project.run().destination()["in_doubt"] == 100
    stand_in.faults([])
    ended = project.run("--stop-after", "50")
    assert (ended.json["status"], ended.destination()["sent"], ended.destination()["in_doubt"]) == ("paused", 50, 50)
    assert "before" not in ended.json
    assert project.run().json["status"] == "done"


def test_the_same_content_twice_in_one_source_is_loaded_once(project: Project, stand_in: RunningSandbox) -> None:
    for name in ("a.csv", "b.csv"):
        project.csv(numbered(20), name)
    project.csv(numbered(21), "c.csv")
    mapping = simple_mapping(batch(stand_in))
    mapping["source"]["path"] = "[ab].csv"
    project.mapping(mapping)
    ended = project.run()
    assert ended.destination()["sent"] == 20
    assert "b.csv has the content of" in ended.err
    assert project.run("--again").destination()["sent"] == 20


@pytest.mark.parametrize("ids", [False, True])
def test_a_destination_under_another_name_is_not_sent_everything_again(
    project: Project, stand_in: RunningSandbox, ids: bool
) -> None:
    project.csv(numbered(20))
    mapping = simple_mapping(batch(stand_in))
    if ids:
        mapping["event"]["id"] = "number"
    project.mapping(mapping)
    assert project.run().code == 0
    mapping["destinations"][0]["name"] = "iphone"
    project.mapping(mapping)
    ended = project.run()
    assert ended.code == 2
    for word in ("'ios'", "name", "--again"):
        assert word in ended.err
    assert "has changed" not in ended.err
    assert len(stand_in.received("batch")) == 20
    assert project.run("--again").destination("iphone")["sent"] == 20


def test_a_destination_that_has_got_everything_may_go_before_the_other_has(
    project: Project, stand_in: RunningSandbox
) -> None:
    project.csv(numbered(20))
    android = batch(stand_in, "android")
    project.mapping(simple_mapping(batch(stand_in), {**android, "api_key": "no-such-app"}))
    assert project.run().code == 6
    project.mapping(simple_mapping(batch(stand_in)))
    ended = project.run()
    assert ended.code == 2
    assert "'android'" in ended.err
    project.mapping(simple_mapping(android))
    ended = project.run()
    assert (ended.code, ended.destination("android")["sent"]) == (0, 20)


def test_the_limit_of_rejections_is_one_for_the_run(project: Project, stand_in: RunningSandbox) -> None:
    project.csv(numbered(1000, users=500))
    bloomreach = {**credentials("bloomreach", stand_in.url), "concurrency": 1}
    project.mapping(simple_mapping(bloomreach, batch(stand_in, chunk=5, concurrency=1)))
    stand_in.faults([{"kind": "partial", "share": 1.0, "provider": "bloomreach"}, {"kind": "slow", "seconds": 0.1}])
    ended = project.run("--max-rejected", "20")
    assert (ended.code, ended.json["status"]) == (4, "stopped")
    assert ended.destination("ios")["pending"] > 800
    requests = len(stand_in.requests())
    assert project.run("--max-rejected", "20").code == 4
    assert len(stand_in.requests()) == requests, "too many already: nothing more is sent"
    stand_in.faults([])
    assert project.run().json["status"] == "done"


class Quiet:
    """Watches nothing."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_, **__: None


def test_a_signal_that_comes_with_the_commit_of_a_plan_leaves_the_plan_whole(
    project: Project, stand_in: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.csv(numbered(20))
    path = project.mapping(simple_mapping(batch(stand_in)))
    committed: Any = sa.engine.default.DefaultDialect.do_commit
    written = Planner.commit
    planned: list[bool] = []

    def write(self: Planner, **more: Any) -> None:
        written(self, **more)
        planned.append(True)

    def commit(self: Any, connection: Any) -> None:
        committed(self, connection)
        if planned:
            # What Python does when SIGINT came while the database wrote.
            raise KeyboardInterrupt

    monkeypatch.setattr(Planner, "commit", write)
    monkeypatch.setattr(sa.engine.default.DefaultDialect, "do_commit", commit)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(path, pipeline.Options(Quiet()))
    monkeypatch.undo()
    ended = project.run()
    assert (ended.code, ended.destination()["sent"]) == (0, 20)
