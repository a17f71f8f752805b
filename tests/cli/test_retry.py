"""`loader retry`: what a provider refused is sent again, as it was planned, and once."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from loader import planning
from loader.checkpoint import Checkpoint
from loader.cli.progress import watch
from loader.mapping import read
from loader.state import state_folder
from tests.cli.conftest import QuickProject
from tests.support.project import arrived, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox

PARTIAL = {"kind": "partial", "share": 0.3, "seed": 5}


def refused(project: QuickProject, stand_in: RunningSandbox, *providers: str, rows: int = 120, **more: Any) -> str:
    """A load of which the providers refused a part. The mapping's path."""
    project.csv(numbered(rows))
    destinations = [{**credentials(name, stand_in.url), "chunk": 20} for name in providers]
    path = str(project.mapping(simple_mapping(*destinations, **more)))
    stand_in.faults([PARTIAL])
    assert project.run().code == 3
    stand_in.faults([])
    return path


@pytest.mark.parametrize("provider", ["bloomreach", "batch"])
def test_refused_events_are_sent_again_once(project: QuickProject, stand_in: RunningSandbox, provider: str) -> None:
    path = refused(project, stand_in, provider)
    lacking = 120 - len(stand_in.received())
    assert lacking > 5
    assert f"to send what was refused again, as it was:\nloader retry {path}\n" in project.loader("rejects", path).out
    # The rows are not read again.
    Path("events.csv").unlink()
    ended = project.loader("retry", path, "--json")
    assert (ended.code, ended.json["status"], ended.json["rows"]["events"]) == (0, "done", lacking)
    assert ended.destination()["sent"] == lacking
    assert sorted(arrived(stand_in.received())) == list(range(1, 121))
    again = project.loader("retry", path)
    assert (again.code, again.out) == (0, "load: no events to send again\n")
    first, second = project.loader("status", path, "--json").json["runs"]
    assert first["destinations"][0]["events"]["rejected"] == lacking
    assert second["run"] == ended.json["run"]
    assert f"events of run {first['run']} again" in project.loader("status", path).out


def test_what_was_sent_again_is_not_written_to_be_loaded(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = refused(project, stand_in, "bloomreach")
    assert project.loader("retry", path).code == 0
    written = project.loader("rejects", path, "--output", "mended.csv", "--all")
    assert written.out == "0 rows written to mended.csv\n"


def test_one_run_for_each_destination(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = refused(project, stand_in, "bloomreach", "batch")
    counts = {
        d["name"]: d["events"]["rejected"]
        for d in project.loader("status", path, "--json").json["runs"][0]["destinations"]
    }
    ended = project.loader("retry", path, "--json")
    runs = [*ended.json["before"], ended.json]
    assert [{d["name"]: d["events"]["sent"] for d in run["destinations"]} for run in runs] == [
        {"bloomreach": counts["bloomreach"]},
        {"batch": counts["batch"]},
    ]


def test_what_is_refused_again_has_its_row(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = refused(project, stand_in, "bloomreach")
    stand_in.faults([{"kind": "partial", "share": 1.0}])
    ended = project.loader("retry", path, "--json")
    assert ended.code == 3
    assert ended.destination()["rejected"] == ended.json["rows"]["events"]
    lacking = ended.json["rows"]["events"]
    shown = project.loader("rejects", path, "--json").json["rejections"]
    assert [(group["count"], group["retried"]) for group in shown] == [(lacking, lacking), (lacking, 0)]
    assert shown[1]["run"] == ended.json["run"]
    text = project.loader("rejects", path).out
    assert "(events.csv)" in text
    assert f"refused: {lacking} events to bloomreach, all of them retried since\n" in text
    stand_in.faults([])
    assert project.loader("retry", path).code == 0
    assert sorted(arrived(stand_in.received())) == list(range(1, 121))


def test_events_that_were_mended_and_loaded_meanwhile_are_not_sent_twice(
    project: QuickProject, stand_in: RunningSandbox
) -> None:
    event = {**simple_mapping()["event"], "id": "number"}
    path = refused(project, stand_in, "bloomreach", event=event)
    lacking = 120 - len(stand_in.received())
    project.loader("rejects", path, "--output", "mended.csv")
    mapping = simple_mapping(credentials("bloomreach", stand_in.url), event=event)
    mapping["source"]["path"] = "mended.csv"
    project.mapping(mapping)
    assert project.run().destination()["sent"] == lacking
    ended = project.loader("retry", path, "--written", "--json")
    assert (ended.destination()["sent"], ended.destination()["already_delivered"]) == (0, lacking)
    assert sorted(arrived(stand_in.received())) == list(range(1, 121))


def test_rows_that_stand_in_a_file_are_left_to_it(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = refused(project, stand_in, "bloomreach", "batch")
    counts = {
        d["name"]: d["events"]["rejected"]
        for d in project.loader("status", path, "--json").json["runs"][0]["destinations"]
    }
    # A file that cannot be written marks nothing.
    assert project.loader("rejects", path, "--output", "nowhere/mended.csv").code == 2
    assert project.loader("rejects", path, "--output", "mended.csv").code == 0
    assert "to send what was refused again" not in project.loader("rejects", path).out
    ended = project.loader("retry", path)
    assert (ended.code, ended.out) == (0, "load: no events to send again\n")
    for name, count in counts.items():
        assert f"the rows of {count} events to {name} were written to a file by `loader rejects --output`" in ended.err
    # The same rows can be written again.
    assert project.loader("rejects", path, "--output", "mended.csv").code == 0
    assert len(Path("mended.csv").read_text().splitlines()) > max(counts.values())
    assert project.loader("retry", path, "--written", "--json").code == 0
    numbers = [*arrived(stand_in.received("bloomreach")), *arrived(stand_in.received("batch"))]
    assert sorted(numbers) == sorted([*range(1, 121)] * 2)


def test_rows_are_written_to_one_file_only(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = refused(project, stand_in, "bloomreach")
    count = 120 - len(stand_in.received())
    assert project.loader("rejects", path, "--output", "one.csv").out == f"{count} rows written to one.csv\n"
    other = project.loader("rejects", path, "--all", "--output", "two.csv")
    assert other.out.startswith(f"0 rows written to two.csv\n{count} events left out: their rows stand in a file")


def test_rows_that_could_not_be_written_can_be_retried(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = refused(project, stand_in, "bloomreach")
    count = 120 - len(stand_in.received())
    # In place: the second name of the file changes with it.
    with Path("events.csv").open("r+", encoding="utf-8") as file:
        file.write("numbre")
    written = project.loader("rejects", path, "--output", "mended.csv")
    assert f"{count} rows are lost" in written.out
    assert project.loader("retry", path, "--json").destination()["sent"] == count
    assert sorted(arrived(stand_in.received())) == list(range(1, 121))


def test_of_versions_of_one_event_the_newest_is_sent(project: QuickProject, stand_in: RunningSandbox) -> None:
    engine = sa.create_engine(f"sqlite:///{project.folder}/shop.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE events (number INTEGER, user TEXT, at TEXT, id TEXT)")
        connection.exec_driver_sql("INSERT INTO events VALUES (1, 'a', '2026-03-01T10:00:00Z', 'one')")
    event = {**simple_mapping()["event"], "id": "id"}
    source = {"type": "sql", "url": "sqlite:///shop.db", "query": "SELECT * FROM events"}
    path = str(project.mapping(simple_mapping(credentials("bloomreach", stand_in.url), event=event, source=source)))
    stand_in.faults([{"kind": "partial", "share": 1.0}])
    assert project.run().code == 3
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE events SET number = 2")
    assert project.run().code == 3
    assert project.loader("retry", path).code == 3
    stand_in.faults([])
    assert project.loader("retry", path, "--json").destination()["sent"] == 1
    assert arrived(stand_in.received()) == [2]
    # The older one is known to have arrived, in its newer version.
    assert project.loader("retry", path, "--json").destination()["already_delivered"] == 1
    assert arrived(stand_in.received()) == [2]


def test_a_trial_of_a_few_events_is_one_of_all_that_is_retried(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = refused(project, stand_in, "bloomreach", "batch")
    before = len(stand_in.received("bloomreach")) + len(stand_in.received("batch"))
    assert project.loader("retry", path, "--stop-after", "1").code == 0
    assert len(stand_in.received("bloomreach")) + len(stand_in.received("batch")) == before + 1


def test_one_that_was_stopped_forgets_no_destination(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = refused(project, stand_in, "bloomreach", "batch")
    stopped = project.loader("retry", path, "--stop-after", "5")
    assert stopped.code == 0
    assert stopped.out.endswith(f"to go on:\nloader run {path}\n")
    ended = project.run()
    assert (ended.code, len(ended.json["before"])) == (0, 1)
    numbers = [*arrived(stand_in.received("bloomreach")), *arrived(stand_in.received("batch"))]
    assert sorted(numbers) == sorted([*range(1, 121)] * 2)


def test_each_run_of_one_that_was_stopped_is_cancelled_alone(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = refused(project, stand_in, "bloomreach", "batch")
    assert project.loader("retry", path, "--stop-after", "5").code == 0
    first, second = [run["run"] for run in project.loader("status", path, "--json").json["runs"][1:]]
    begun = project.loader("cancel", path, "--yes").out
    assert begun.startswith(f"run {first}: ")
    assert begun.endswith(f"run {second} is not finished either; to cancel it too:\nloader cancel {path}\n")
    untouched = project.loader("cancel", path, "--yes").out
    assert untouched == f"run {second} is forgotten; nothing of it was sent, and its events can be retried\n"
    assert project.loader("cancel", path, "--yes").out == "nothing is pending\n"


def test_what_is_refused_on_the_way_waits_for_another_retry(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(100))
    path = str(project.mapping(simple_mapping({**credentials("bloomreach", stand_in.url), "chunk": 10})))
    assert project.run("--stop-after", "50").code == 0
    stand_in.faults([{"kind": "partial", "share": 0.3, "seed": 5}])
    ended = project.loader("retry", path, "--json")
    assert ended.code == 3
    assert len(project.loader("status", path, "--json").json["runs"]) == 1
    stand_in.faults([])
    assert project.loader("retry", path).code == 0
    assert sorted(arrived(stand_in.received())) == list(range(1, 101))


def test_without_a_destination_there_is_nowhere_to_send(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = refused(project, stand_in, "bloomreach")
    project.mapping(simple_mapping(credentials("batch", stand_in.url)))
    ended = project.loader("retry", path)
    assert ended.code == 2
    assert "events of run " in ended.err
    assert "to the destination 'bloomreach' (bloomreach, route batch) cannot be sent again" in ended.err
    assert "Bring it back, or write the rows to a file with `loader rejects --output`" in ended.err
    assert project.loader("retry", path, "--run", "nope").err.startswith(
        "loader: there is no run nope; the newest are: "
    )


def test_a_destination_that_is_gone_blocks_no_other(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = refused(project, stand_in, "bloomreach", "batch")
    project.mapping(simple_mapping(credentials("batch", stand_in.url)))
    ended = project.loader("retry", path)
    assert ended.code == 0
    assert "to the destination 'bloomreach' (bloomreach, route batch) cannot be sent again" in ended.err
    assert sorted(arrived(stand_in.received("batch"))) == list(range(1, 121))


def test_cancelled_events_can_be_sent_after_all(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(100))
    path = str(project.mapping(simple_mapping({**credentials("bloomreach", stand_in.url), "chunk": 10})))
    assert project.run("--stop-after", "30").code == 0
    assert project.loader("cancel", path, "--yes").code == 0
    assert project.loader("retry", path).out == "load: no events to send again\n"
    assert project.loader("retry", path, "--reason", "cancelled", "--stop-after", "25").code == 0
    assert project.run().code == 0
    assert sorted(arrived(stand_in.received())) == list(range(1, 101))


def test_what_may_have_arrived_is_not_sent_again(project: QuickProject, stand_in: RunningSandbox) -> None:
    event = {**simple_mapping()["event"], "id": "number"}
    project.csv(numbered(60))
    path = str(project.mapping(simple_mapping({**credentials("batch", stand_in.url), "chunk": 20}, event=event)))
    stand_in.faults([{"kind": "lost_answer", "at": [1]}])
    assert project.run().code == 7
    assert project.loader("resolve", path, "--resend").code == 0
    stand_in.faults([{"kind": "401"}])
    assert project.run().code == 6
    assert project.loader("cancel", path, "--yes").code == 0
    stand_in.faults([])
    assert "no events to send again" in project.loader("retry", path, "--reason", "cancelled").out
    written = project.loader("rejects", path, "--output", "mended.csv").out
    assert "20 rows may have arrived: the events were in doubt, and loading the file sends them again" in written


def test_a_retry_of_which_nothing_was_sent_can_be_dropped(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = refused(project, stand_in, "bloomreach")
    mapping = read(Path(path))
    folder = state_folder(mapping.path, None)
    checkpoint = Checkpoint.open(folder, "load")
    with watch("load", quiet=True) as quiet:
        planning.plan_again(mapping, checkpoint, folder, planning.Again(("refused",)), quiet)
    planned = checkpoint.all_runs()[-1]["run"]
    assert checkpoint.to_retry(("refused",), None, written=None) == []
    checkpoint.close()
    assert project.loader("plan", path, "--json").json["run"] == planned
    dropped = project.loader("cancel", path, "--yes")
    assert "nothing of it was sent, and its events can be retried" in dropped.out
    assert project.loader("retry", path).code == 0
    assert sorted(arrived(stand_in.received())) == list(range(1, 121))


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_instant_it_goes_on(project: QuickProject, stand_in: RunningSandbox, seed: int) -> None:
    chance = random.Random(seed)
    path = refused(project, stand_in, "bloomreach", rows=400)
    stand_in.faults([{"kind": "slow", "seconds": 0.05}])
    for _ in range(3):
        with project.started("retry", path) as process:
            time.sleep(chance.uniform(0.3, 1.2))
            process.send_signal(signal.SIGKILL)
            process.wait()
    stand_in.faults([])
    assert project.run().code in (0, 3)
    assert project.loader("retry", path).code == 0
    assert sorted(arrived(stand_in.received())) == list(range(1, 401))
