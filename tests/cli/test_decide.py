"""`loader resolve` and `loader cancel`: what a person decides about events that were not delivered."""

from __future__ import annotations

import pytest

from loader.state import hold
from tests.cli.conftest import QuickProject
from tests.support.project import arrived, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox


def in_doubt(project: QuickProject, stand_in: RunningSandbox) -> str:
    """A run of 2,500 events to Batch of which the second chunk's answer was lost. The mapping's path."""
    project.csv(numbered(2500))
    path = str(project.mapping(simple_mapping({**credentials("batch", stand_in.url), "concurrency": 1})))
    stand_in.faults([{"kind": "lost_answer", "at": [2]}])
    ended = project.run()
    assert (ended.code, ended.json["status"]) == (7, "in_doubt")
    assert ended.destination()["in_doubt"] == 1000
    return path


def test_a_run_in_doubt_says_how_to_settle_it(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = in_doubt(project, stand_in)
    ended = project.loader("run", path)
    assert ended.code == 7
    assert ended.out.splitlines()[-3:] == [
        f"loader resolve {path} --skip",
        "to send them again, perhaps for the second time:",
        f"loader resolve {path} --resend",
    ]
    assert project.loader("status", path).out.splitlines()[-3:] == ended.out.splitlines()[-3:]
    # The same where nothing is to be sent again.
    assert project.loader("retry", path).out.splitlines()[-3:] == ended.out.splitlines()[-3:]


def test_resend(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = in_doubt(project, stand_in)
    second = arrived(stand_in.received())[1000:2000]
    ended = project.loader("resolve", path, "--resend")
    run = project.loader("status", path, "--json").json["runs"][0]["run"]
    assert ended.code == 0
    low, high = min(second), max(second)
    assert ended.out == (
        f"run {run}, batch: 1 chunk with 1,000 events will be sent again (among rows {low:,} to {high:,})\n"
        f"\nto go on:\nloader run {path}\n"
    )
    finished = project.run()
    assert (finished.code, finished.destination()["sent"]) == (0, 2500)
    assert sorted(arrived(stand_in.received())) == sorted([*range(1, 2501), *second])
    assert project.loader("resolve", path, "--resend").out == "nothing is in doubt\n"


def test_skip(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = in_doubt(project, stand_in)
    second = arrived(stand_in.received())[1000:2000]
    ended = project.loader("resolve", path, "--skip", "--json")
    run = project.loader("status", path, "--json").json["runs"][0]
    span = [min(second), max(second)]
    assert ended.json == {
        "mapping": "load",
        "decision": "skip",
        "runs": [
            {
                "run": run["run"],
                "destinations": [{"name": "batch", "chunks": 1, "events": 1000, "among_rows": [span]}],
            }
        ],
    }
    assert run["status"] == "done"
    assert run["destinations"][0]["events"]["rejected"] == 1000
    assert project.run().code == 0
    assert "skipped: 1,000 events to batch" in project.loader("rejects", path).out
    assert project.loader("resolve", path, "--skip", "--json").json["runs"] == []


def test_skip_of_a_run_that_is_not_finished_leaves_the_rest_pending(
    project: QuickProject, stand_in: RunningSandbox
) -> None:
    project.csv(numbered(2500))
    path = str(project.mapping(simple_mapping({**credentials("batch", stand_in.url), "concurrency": 1})))
    stand_in.faults([{"kind": "lost_answer", "at": [1]}])
    project.run("--stop-after", "1000")
    ended = project.loader("resolve", path, "--skip")
    assert ended.out.splitlines()[-1] == f"loader run {path}"
    finished = project.run()
    assert finished.destination() == {
        "total": 2500, "already_delivered": 0, "rejected": 1000, "sent": 1500, "in_doubt": 0, "pending": 0,
    }  # fmt: skip


def test_resolve_of_one_run(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = in_doubt(project, stand_in)
    unknown = project.loader("resolve", path, "--skip", "--run", "nope")
    assert (unknown.code, unknown.err[:29]) == (2, "loader: there is no run nope;")
    run = project.loader("status", path, "--json").json["runs"][0]["run"]
    assert project.loader("resolve", path, "--skip", "--run", run).code == 0


@pytest.mark.parametrize("options", [[], ["--resend", "--skip"]])
def test_resolve_takes_one_decision(project: QuickProject, options: list[str]) -> None:
    path = str(project.mapping({}))
    ended = project.loader("resolve", path, *options)
    assert ended.code == 2
    assert ended.err.startswith("loader: give one of --resend")


def test_cancel_forgets_a_run_of_which_nothing_was_sent(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(10))
    path = str(project.mapping(simple_mapping(credentials("bloomreach", stand_in.url))))
    assert project.loader("cancel", path, "--yes").out == "nothing is pending\n"
    planned = project.loader("plan", path, "--json").json["run"]
    asked = project.loader("cancel", path)
    assert (asked.code, asked.err) == (2, f"loader: run {planned} has 10 pending events; add --yes to forget the run\n")
    ended = project.loader("cancel", path, "--yes")
    assert ended.out.startswith(f"run {planned} is forgotten")
    assert project.loader("status", path, "--json").json["runs"] == []
    assert list((project.folder / ".loader" / "load" / "runs").iterdir()) == []
    assert project.run().destination()["sent"] == 10


def test_cancel_rejects_what_is_pending_of_a_run_that_was_begun(
    project: QuickProject, stand_in: RunningSandbox
) -> None:
    project.csv(numbered(10))
    path = str(project.mapping(simple_mapping(credentials("bloomreach", stand_in.url))))
    run = project.run("--stop-after", "4").json["run"]
    ended = project.loader("cancel", path, "--yes")
    assert ended.out.splitlines()[0] == f"run {run}: 6 events that were pending will not be sent"
    assert ended.out.splitlines()[-1] == f"loader rejects {path} --reason cancelled --output load.cancelled.csv"
    (shown,) = project.loader("status", path, "--json").json["runs"]
    assert shown["status"] == "done"
    assert shown["destinations"][0]["events"]["rejected"] == 6
    assert project.run().json["status"] == "nothing_new"
    assert project.loader("cancel", path, "--yes").out == "nothing is pending\n"
    written = project.loader("rejects", path, "--reason", "cancelled", "--output", "load.cancelled.csv")
    assert written.out == "6 rows written to load.cancelled.csv\n"


def test_cancel_leaves_what_is_in_doubt_to_resolve(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(2500))
    path = str(project.mapping(simple_mapping({**credentials("batch", stand_in.url), "concurrency": 1})))
    stand_in.faults([{"kind": "lost_answer", "at": [1]}])
    project.run("--stop-after", "1000")
    ended = project.loader("cancel", path, "--yes")
    assert f"loader resolve {path} --skip" in ended.out.splitlines()
    assert ended.out.splitlines()[-1] == f"loader resolve {path} --resend"
    assert project.loader("status", path, "--json").json["runs"][0]["status"] == "in_doubt"
    assert project.run().code == 7


@pytest.mark.parametrize("arguments", [["run"], ["plan"], ["cancel", "--yes"], ["resolve", "--skip"]])
def test_a_state_that_somebody_holds_ends_with_8(
    project: QuickProject, stand_in: RunningSandbox, arguments: list[str]
) -> None:
    project.csv(numbered(10))
    path = str(project.mapping(simple_mapping(credentials("bloomreach", stand_in.url))))
    project.run("--stop-after", "4")
    with hold(project.folder / ".loader" / "load"):
        ended = project.process(arguments[0], path, *arguments[1:])
    assert ended.code == 8
    assert ended.err.startswith("loader: process ")
    assert "holds the state in" in ended.err
