"""`loader prune`: old plans go, and what was delivered stays known."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from loader.plan import pruned
from tests.cli.conftest import QuickProject
from tests.support.project import arrived, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox

PARTIAL = {"kind": "partial", "share": 0.3, "seed": 5}
STATE = Path(".loader/load")


def aged(project: QuickProject, days: int = 100, run: str = "%") -> None:
    """Let the runs be that old."""
    with sa.create_engine(f"sqlite:///{project.folder}/{STATE}/checkpoint.db").begin() as connection:
        change = "UPDATE runs SET finished = strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now', ?) WHERE finished IS NOT NULL"
        connection.exec_driver_sql(f"{change} AND run LIKE ?", (f"-{days} days", run))


def loaded(project: QuickProject, stand_in: RunningSandbox, *faults: dict[str, Any], **more: Any) -> str:
    """A load of 120 rows. The mapping's path."""
    project.csv([*numbered(120), ["", "", "never"]])
    path = str(project.mapping(simple_mapping({**credentials("bloomreach", stand_in.url), "chunk": 20}, **more)))
    stand_in.faults(list(faults))
    assert project.run().code == 3
    stand_in.faults([])
    return path


def plan_files() -> list[str]:
    return sorted(p.name for p in STATE.glob("runs/**/*") if p.is_file())


def test_old_plans_go_and_nothing_is_loaded_twice(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = loaded(project, stand_in, PARTIAL)
    sent = arrived(stand_in.received())
    before = plan_files()
    size = sum(p.stat().st_size for p in STATE.glob("runs/**/*") if p.is_file() and p.stat().st_nlink == 1)
    young = project.loader("prune", path, "--older-than", "90d")
    assert (young.code, young.out) == (0, "nothing to prune: no finished run is older than 90d\n")
    aged(project)
    run = project.loader("status", path, "--json").json["runs"][0]["run"]
    rejected = 120 - len(sent) + 1
    dry = project.process("prune", path, "--older-than", "90d", "--dry-run")
    assert dry.out.splitlines()[0].startswith(f"run {run}: ")
    assert f", with the rows of {rejected} rejections\n1 run, " in dry.out
    assert dry.out.endswith(f" would be freed\n\nto remove them:\nloader prune {path} --older-than 90d\n")
    assert plan_files() == before
    ended = project.loader("prune", path, "--older-than", "90d", "--json")
    assert ended.json == {
        "mapping": "load",
        "dry_run": False,
        "runs": [{"run": run, "bytes": size, "rejected": rejected}],
        "bytes": size,
    }
    assert plan_files() == ["pruned.json"]
    assert oct((STATE / "runs" / run / "pruned.json").stat().st_mode)[-3:] == "600"
    again = project.loader("prune", path, "--older-than", "90d")
    assert again.out == "nothing to prune: no finished run is older than 90d\n"
    # The same file, also under another name, is known.
    assert project.run().json["status"] == "nothing_new"
    Path("events.csv").rename("other.csv")
    mapping = simple_mapping({**credentials("bloomreach", stand_in.url), "chunk": 20})
    mapping["source"]["path"] = "other.csv"
    project.mapping(mapping)
    assert project.run().json["status"] == "nothing_new"
    assert arrived(stand_in.received()) == sent


def test_what_looks_at_a_pruned_run_says_so(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = loaded(project, stand_in, PARTIAL)
    counted = project.loader("status", path, "--json").json["runs"]
    aged(project)
    assert project.loader("prune", path, "--older-than", "1d").code == 0
    status = project.loader("status", path)
    assert "  pruned on 20" in status.out
    assert [{**run, "pruned": None} for run in project.loader("status", path, "--json").json["runs"]] == [
        {**run, "pruned": None} for run in counted
    ]
    assert project.loader("status", path, "--json").json["runs"][0]["pruned"].startswith("20")
    shown = project.loader("rejects", path)
    assert shown.code == 0
    assert "the rows were pruned on 20" in shown.out
    assert "missing_user: 1 row" in shown.out or "bad_t" in shown.out
    assert "loader retry" not in shown.out
    assert "--output" not in shown.out
    count = sum(group["count"] for group in project.loader("rejects", path, "--json").json["rejections"])
    written = project.loader("rejects", path, "--output", "mended.csv")
    assert written.code == 0
    assert f"{count} rejections left out: their rows were pruned" in written.out
    retried = project.loader("retry", path)
    assert retried.code == 0
    assert f"{count - 1} events to bloomreach cannot be sent again: the plan was pruned on 20" in retried.err
    assert retried.out == "load: no events to send again\n"
    assert project.loader("report", path, "--output", "page.html").code == 0
    assert "<dt>pruned</dt>" in Path("page.html").read_text()
    assert project.loader("doctor", path).code == 0


def test_tokens_and_ids_stay(project: QuickProject, stand_in: RunningSandbox) -> None:
    event = {**simple_mapping()["event"], "id": "number"}
    project.csv(numbered(50))
    path = str(project.mapping(simple_mapping({**credentials("batch", stand_in.url), "chunk": 20}, event=event)))
    assert project.run().code == 0
    tokens = project.loader("tokens", path, "--json").json["tokens"]
    assert len(tokens) == 3
    aged(project)
    assert project.loader("prune", path, "--older-than", "90d").code == 0
    assert project.loader("tokens", path, "--json").json["tokens"] == tokens
    project.csv(numbered(60))
    ended = project.run()
    assert (ended.destination()["sent"], ended.destination()["already_delivered"]) == (10, 50)
    assert sorted(arrived(stand_in.received())) == list(range(1, 61))
    # The newer run is no older than it is.
    assert project.loader("prune", path, "--older-than", "90d").out.startswith("nothing to prune")


def test_unfinished_and_doubtful_runs_are_left_alone(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(60))
    path = str(project.mapping(simple_mapping({**credentials("batch", stand_in.url), "chunk": 20})))
    assert project.run("--stop-after", "10").code == 0
    assert project.loader("prune", path, "--older-than", "0s").out.startswith("nothing to prune")
    stand_in.faults([{"kind": "lost_answer", "at": [2]}])
    assert project.run().code == 7
    aged(project)
    assert project.loader("prune", path, "--older-than", "90d").out.startswith("nothing to prune")
    assert project.loader("resolve", path, "--skip").code == 0
    aged(project)
    assert project.loader("prune", path, "--older-than", "90d").out.startswith("run ")


def test_the_rows_of_a_younger_retry_are_kept(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = loaded(project, stand_in, PARTIAL)
    stand_in.faults([{"kind": "partial", "share": 1.0}])
    assert project.loader("retry", path).code == 3
    first, second = [run["run"] for run in project.loader("status", path, "--json").json["runs"]]
    aged(project, run=first)
    assert project.loader("prune", path, "--older-than", "90d").out.startswith("nothing to prune")
    aged(project)
    pruning = project.loader("prune", path, "--older-than", "90d", "--json").json
    assert [run["run"] for run in pruning["runs"]] == [first, second]


def test_a_prune_that_was_cut_short_is_finished(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = loaded(project, stand_in)
    aged(project)
    (folder,) = (STATE / "runs").iterdir()
    shutil.copytree(folder, "backup")
    assert project.loader("prune", path, "--older-than", "90d").code == 0
    note = (folder / "pruned.json").read_bytes()
    # The note is there, and so is a part of the plan.
    shutil.copytree("backup/bloomreach", folder / "bloomreach")
    assert project.loader("prune", path, "--older-than", "90d").out.startswith("run ")
    assert plan_files() == ["pruned.json"]
    assert note[:20] == (folder / "pruned.json").read_bytes()[:20]
    # What comes back from a backup is whole again.
    shutil.rmtree(folder)
    shutil.copytree("backup", folder)
    assert pruned(folder) is None
    assert "e.g. row 121" in project.loader("rejects", path).out


@pytest.mark.parametrize("age", ["soon", "90", "-1d", "9999999999d"])
def test_an_age_that_is_none(project: QuickProject, stand_in: RunningSandbox, age: str) -> None:
    path = loaded(project, stand_in)
    ended = project.loader("prune", path, "--older-than", age)
    assert (ended.code, ended.out) == (2, "")
    assert "such as 90d" in ended.err


def test_nothing_was_ever_run(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = str(project.mapping(simple_mapping(credentials("bloomreach", stand_in.url))))
    assert project.loader("prune", path, "--older-than", "1d").out.startswith("nothing to prune")
    assert not Path(".loader").exists()
