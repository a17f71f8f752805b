"""`run`, `plan`, `preview`, `check`, `status` and `tokens` as processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import QuickProject
from tests.support.project import Ended, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox

KEYS = {"run", "mapping", "status", "rows", "destinations", "seconds"}
NOTHING_SET = [{"provider": "bloomreach", "project_token": "${T}", "api_key_id": "${I}", "api_secret": "${S}"}]


def simple(project: QuickProject, *destinations: dict[str, Any], rows: int = 120, **more: Any) -> str:
    """A mapping of `rows` rows, of which number 3 has no user. Its path."""
    table = numbered(rows)
    table[3][1] = ""
    project.csv(table)
    return str(project.mapping(simple_mapping(*(destinations or NOTHING_SET), **more)))


def flat(text: str) -> str:
    """`text` without its columns: one blank between two words."""
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def last_line(text: str) -> str:
    return text.rstrip("\n").splitlines()[-1]


def child_of(process: subprocess.Popen[str]) -> int:
    """The child process of `process`, as soon as it has one."""
    deadline = time.monotonic() + 30
    while True:
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False
        )
        if listed.stdout.split():
            return int(listed.stdout.split()[0])
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Whether a process is there and is no corpse that waits for its parent."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip() != "" and not state.startswith("Z")


def imported(ended: Ended) -> set[str]:
    """The packages that a process imported which told each import (`TELLS_IMPORTS`)."""
    return {name.split(".")[0] for name in re.findall(r"(?m)^import time:.*\|\s+([\w.]+)$", ended.err)}


TELLS_IMPORTS = {"PYTHONPROFILEIMPORTTIME": "1"}


def test_http_is_imported_where_there_is_something_to_send(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, credentials("bloomreach", stand_in.url))
    planned = project.process("plan", path, env=TELLS_IMPORTS)
    sent = project.process("run", path, "--json", env=TELLS_IMPORTS)
    nothing_new = project.process("run", path, "--json", env=TELLS_IMPORTS)
    assert (sent.json["status"], nothing_new.json["status"]) == ("done", "nothing_new")
    http = {"httpx", "pyreqwest"}
    assert [imported(ended) & http for ended in (planned, sent, nothing_new)] == [set(), http, set()]
    assert "polars" in imported(nothing_new)


def test_run_against_the_sandbox_needs_no_account_and_leaves_nothing(project: QuickProject, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    ended = project.process("run", simple(project), "--sandbox", env={"TMPDIR": str(temporary)})
    assert ended.code == 3
    assert ended.out.startswith("load: done (run ")
    assert "\nrows 120 = 0 + 1 + 119\n" in flat(ended.out)
    assert "\nbloomreach 119 = 0 + 0 + 119 + 0 + 0\n" in flat(ended.out)
    assert "bloomreach  3 chunks  3 requests  0 tokens" in ended.out
    assert "  1  rows  missing_user  the event has no user" in ended.out
    assert "the stand-in received 119 events of bloomreach in 3 requests" in ended.out
    assert last_line(ended.out).endswith(f"loader run {project.mapping_path} --sandbox --state sandbox-state")
    assert list(temporary.iterdir()) == []
    assert not (project.folder / ".loader").exists()


def test_the_sandbox_ends_with_the_command(project: QuickProject) -> None:
    path = simple(project, rows=200)
    with project.started("run", path, "--sandbox", "--fault", "slow:seconds=30") as process:
        child = child_of(process)
        process.kill()
    deadline = time.monotonic() + 30
    while lives(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_sandbox_state_that_is_named_is_kept(project: QuickProject) -> None:
    path = simple(project)
    first = project.loader("run", path, "--sandbox", "--state", "kept", "--stop-after", "50")
    assert first.code == 3
    assert last_line(first.out) == f"loader run {path} --state kept --sandbox"
    second = project.loader("run", path, "--sandbox", "--state", "kept")
    assert "the stand-in received 69 events of bloomreach in 2 requests" in second.out
    assert last_line(second.out) == f"loader rejects {path} --state kept"


def test_faults_are_handed_to_the_sandbox(project: QuickProject) -> None:
    path = simple(project)
    ended = project.loader("run", path, "--sandbox", "--fault", "500:first=2")
    assert "the stand-in failed on purpose: 2 x 500" in ended.out
    assert "119 events of bloomreach in 5 requests" in ended.out
    assert project.loader("run", path, "--fault", "500").err == "loader: --fault is for the stand-in; add --sandbox\n"
    wrong = project.loader("run", path, "--sandbox", "--fault", "nonsense")
    assert wrong.code == 2
    assert wrong.err.startswith("loader: the sandbox did not start: unknown fault 'nonsense'")


def test_a_proxy_of_the_environment_does_not_stand_between(project: QuickProject) -> None:
    # Both the delivery and the question to the stand-in must reach it.
    env = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    assert "received 119 events" in project.loader("run", simple(project), "--sandbox", env=env).out


def test_json_is_one_object_of_the_documented_shape(project: QuickProject, stand_in: RunningSandbox) -> None:
    simple(project, credentials("bloomreach", stand_in.url), credentials("batch", stand_in.url))
    first = project.run("--stop-after", "50")
    assert set(first.json) == KEYS
    assert first.json["status"] == "paused"
    assert first.destination("batch") == {
        "total": 119, "already_delivered": 0, "rejected": 0, "sent": 50, "in_doubt": 0, "pending": 69,
    }  # fmt: skip
    project.csv(numbered(10), "more.csv")
    project.mapping({**simple_mapping(credentials("bloomreach", stand_in.url), credentials("batch", stand_in.url)),
                     "source": {"type": "csv", "path": ["events.csv", "more.csv"]}})  # fmt: skip
    second = project.run()
    assert set(second.json) == {*KEYS, "before"}
    assert [run["run"] for run in second.json["before"]] == [first.json["run"]]
    assert second.json["rows"] == {"read": 10, "filtered": 0, "rejected": 0, "events": 10}
    third = project.run()
    assert third.code == 0
    assert third.json == {
        "run": None, "mapping": "load", "status": "nothing_new", "destinations": [], "seconds": 0.0,
        "rows": {"read": 0, "filtered": 0, "rejected": 0, "events": 0},
    }  # fmt: skip


def test_the_summary_of_earlier_runs_comes_first(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, credentials("bloomreach", stand_in.url))
    project.run("--stop-after", "1")
    project.csv(numbered(5), "more.csv")
    project.mapping({**simple_mapping(credentials("bloomreach", stand_in.url)),
                     "source": {"type": "csv", "path": ["events.csv", "more.csv"]}})  # fmt: skip
    out = project.loader("run", path).out
    assert out.count("load: done (run ") == 2
    assert flat(out).index("rows 120 =") < flat(out).index("rows 5 =")


def test_a_run_that_stops_tells_why_and_what_to_do(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, {**credentials("batch", stand_in.url), "rest_api_key": "wrong"})
    ended = project.loader("run", path)
    assert ended.code == 6
    assert "load: stopped (run " in ended.out
    assert "\n\nstopped: batch: Batch refused the credentials or the route: HTTP 401" in ended.out
    assert last_line(ended.out) == f"loader run {path}"
    assert ended.err.splitlines()[-1].startswith("loader: batch: Batch refused the credentials")
    as_json = project.run()
    assert as_json.code == 6
    assert as_json.json["error"].startswith("batch: Batch refused")
    assert as_json.json["status"] == "stopped"
    quiet = project.loader("run", path, "--quiet")
    assert (quiet.code, quiet.out) == (6, "")
    assert quiet.err.startswith("loader: batch: Batch refused")
    assert len(quiet.err.splitlines()) == 1


def test_quiet_says_nothing_but_json(project: QuickProject) -> None:
    path = simple(project)
    ended = project.loader("run", path, "--sandbox", "--quiet")
    assert (ended.code, ended.out, ended.err) == (3, "", "")
    assert set(project.loader("run", path, "--sandbox", "--quiet", "--json").json) == KEYS


def test_too_many_rejections(project: QuickProject) -> None:
    path = simple(project)
    for limit, code in (("0", 4), ("0.5%", 4), ("1", 3), ("1%", 3)):
        ended = project.loader("run", path, "--sandbox", "--max-rejected", limit)
        assert ended.code == code, limit
    assert "1 × missing_user" in project.loader("plan", path, "--max-rejected", "0").err
    assert project.loader("run", path, "--max-rejected", "many").err.startswith("loader: --max-rejected takes a number")


def test_a_reader_that_goes_away_is_no_error(project: QuickProject) -> None:
    path = simple(project)
    with project.started("run", path, "--sandbox") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(60) == 3
        assert "Traceback" not in process.stderr.read()


def test_a_terminal_that_lacks_a_character_is_no_error(project: QuickProject) -> None:
    project.csv([["number", "user", "at"], ["1", "Łukasz", "2026-03-01T10:00:00Z"]])
    path = str(project.mapping(simple_mapping(*NOTHING_SET)))
    env = {"PYTHONIOENCODING": "latin-1"}
    assert '"user": "\\u0141ukasz"' in project.process("preview", path, env=env).out
    assert project.process("preview", path, "--json", env=env).json["rows"][0]["source"]["user"] == "Łukasz"


# Plan -----------------------------------------------------------------------------------------------------------------


def test_plan_sends_nothing_and_the_run_that_follows_sends_it(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, credentials("bloomreach", stand_in.url), credentials("batch", stand_in.url))
    ended = project.loader("plan", path)
    assert ended.code == 3
    assert stand_in.requests() == []
    assert "load: planned; nothing was sent (run " in ended.out
    assert re.search(r"\nbatch 1 chunk 1 request [0-9.]+ kB no rate published\n", flat(ended.out))
    assert re.search(r"\nbloomreach 3 chunks 3 requests [0-9.]+ kB 0.0 s at 100 requests/s\n", flat(ended.out))
    assert "e.g. row 3 (events.csv): user" in ended.out
    assert last_line(ended.out) == f"loader run {path}"
    shown = project.loader("plan", path, "--json").json
    by_name = {destination["name"]: destination for destination in shown["destinations"]}
    assert by_name["bloomreach"]["seconds_at_rate"] == pytest.approx(0.03)
    assert by_name["batch"]["seconds_at_rate"] is None
    ran = project.run()
    assert ran.json["run"] == shown["run"]
    sizes = {name: sum(r["bytes"] for r in stand_in.requests() if r["provider"] == name) for name in by_name}
    assert sizes == {name: destination["bytes"] for name, destination in by_name.items()}


def test_a_plan_that_was_begun_is_shown_as_it_stands(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, {**credentials("bloomreach", stand_in.url), "rate": "6/min"})
    project.run("--stop-after", "50")
    shown = project.loader("plan", path)
    assert "planned before and partly sent; this command sent nothing" in shown.out
    assert "bloomreach  3 chunks  2 requests" in shown.out
    assert "20 s at 6 requests/min" in shown.out


def test_plan_needs_no_credentials_and_with_sandbox_keeps_nothing(project: QuickProject) -> None:
    path = simple(project)
    assert project.loader("plan", path, "--sandbox").code == 3
    assert not (project.folder / ".loader").exists()
    assert project.loader("plan", path).code == 3
    assert (project.folder / ".loader").exists()


# Preview and check ----------------------------------------------------------------------------------------------------

PREVIEW = """\
row 2
  {
    "number": "2",
    "user": "00002",
    "at": "2026-03-01T10:00:02Z"
  }
  -> bloomreach
    {
      "commands": [
        {
          "name": "customers/events",
          "data": {
            "event_type": "purchase",
            "customer_ids": {
              "registered": "00002"
            },
            "timestamp": 1772359202,
            "properties": {
              "number": 2
            }
          },
          "command_id": "2"
        }
      ]
    }

row 3
  {
    "number": "3",
    "at": "2026-03-01T10:00:03Z"
  }
  -> bloomreach: rejected (missing_user): user (user) is null

filtered before the last row shown: 1

to see the whole plan:
loader plan load.yaml
"""


def test_preview_shows_payloads_beside_rows(project: QuickProject) -> None:
    simple(project, where="number <> '1'")
    ended = project.loader("preview", "load.yaml", "-n", "2")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == PREVIEW
    assert not (project.folder / ".loader").exists()


def test_preview_as_json(project: QuickProject) -> None:
    project.csv(
        [["number", "user", "at"], ["1", "a"], ["x", "b", "2026-03-01T10:00:00Z"], ["3", "c", "2026-03-01T10:00:00Z"]]
    )
    batch = {"provider": "batch", "api_key": "${A}", "rest_api_key": "${B}"}
    project.mapping(simple_mapping(*NOTHING_SET, batch))
    shown = project.loader("preview", "load.yaml", "-n", "3", "--json").json
    ragged, bad, good = shown["rows"]
    assert ragged["source"] == {"number": "1", "user": "a"}
    assert ragged["rejected"]["reason"] == "ragged_row"
    assert [d["rejected"]["reason"] for d in bad["destinations"]] == ["bad_type", "bad_type"]
    assert good["destinations"][0]["request"]["commands"][0]["data"]["properties"] == {"number": 3}
    assert good["destinations"][1]["request"][0]["id"] == "c"
    assert shown["filtered"] == 0


def test_preview_of_a_source_without_rows(project: QuickProject) -> None:
    project.csv([["number", "user", "at"]])
    project.mapping(simple_mapping(*NOTHING_SET))
    assert project.loader("preview", "load.yaml").out.startswith("no rows\n")


def test_check(project: QuickProject) -> None:
    env = {"T": "t", "I": "i", "S": "s"}
    path = simple(project)
    assert project.loader("check", path, env=env).out == "ok: 1 destination (bloomreach), columns number, user, at\n"
    shown = project.loader("check", path, "--json", env=env).json
    assert (shown["ok"], shown["destinations"], shown["columns"]["at"]) == (True, ["bloomreach"], "String")
    missing = project.loader("check", path)
    assert (missing.code, missing.out) == (2, "")
    assert [line.split(":")[0] for line in missing.err.splitlines()] == [path] * 3
    problems = project.loader("check", path, "--json").json["problems"]
    assert [set(problem) for problem in problems] == [{"file", "line", "column", "message"}] * 3


# Status and tokens ----------------------------------------------------------------------------------------------------


def test_status_and_tokens(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, credentials("batch", stand_in.url), credentials("bloomreach", stand_in.url))
    assert project.loader("status", path).out == "load\nno runs\n"
    assert project.loader("tokens", path).out == "no tokens\n"
    assert not (project.folder / ".loader").exists()
    ran = project.run()
    shown = project.loader("status", path, "--json").json
    last = shown.pop("last")
    assert (last["exit"], last["message"]) == (ran.code, None)
    assert shown == {"mapping": "load", "cursor": None, "runs": [ran.json]}
    shown["last"] = last
    assert project.loader("status", "--json").json == {"mappings": [shown]}
    text = project.loader("status").out
    assert text.startswith("load (.loader/load)\n")
    assert f"file {project.folder}/events.csv, 120 rows" in text
    (token,) = {event["token"] for event in stand_in.received("batch")}
    listed = project.loader("tokens", path).out.splitlines()
    assert [line.split() for line in listed] == [
        ["run", "destination", "chunk", "among", "rows", "events", "token", "time"],
        [ran.json["run"], "batch", "1", "1-120", "119", token, listed[1].split()[-1]],
    ]
    as_json = project.loader("tokens", path, "--run", ran.json["run"], "--json").json["tokens"]
    assert [(t["token"], t["first_row"], t["last_row"], t["events"]) for t in as_json] == [(token, 1, 120, 119)]
    unknown = project.loader("tokens", path, "--run", "nope")
    assert unknown.err == f"loader: there is no run nope; the newest are: {ran.json['run']}\n"


def test_status_finds_states_where_they_were_put(project: QuickProject) -> None:
    path = simple(project)
    project.loader("plan", path, "--state", "there")
    assert [m["mapping"] for m in project.loader("status", "--state", "there", "--json").json["mappings"]] == ["load"]
    env = {"LOADER_STATE": str(project.folder / "there")}
    assert len(project.loader("status", path, "--json", env=env).json["runs"]) == 1
    assert project.loader("status", "--json").json == {"mappings": []}
    assert project.loader("status").out == "no runs found\n"


def test_status_works_while_a_run_is_under_way(project: QuickProject, stand_in: RunningSandbox) -> None:
    # Many rejections while sending: rows of several tables change between two reads of the checkpoint.
    stand_in.faults([{"kind": "partial", "share": 0.5}])
    path = simple(project, {**credentials("bloomreach", stand_in.url), "chunk": 1}, rows=400)
    with project.started("run", path, "--quiet") as process:
        seen = []
        while process.poll() is None:
            seen.append(project.loader("status", path))
            assert seen[-1].code == 0
        assert process.returncode == 3
    words = [ended.out for ended in seen if "under way" in ended.out]
    assert words, "the run was over too soon"
    assert f"held by process {process.pid} on " in words[0]
    after = project.loader("status", path).out
    assert "held by" not in after
    assert after.startswith("load\nlast run: ")


def test_a_killed_process_does_not_hold_the_state(project: QuickProject, stand_in: RunningSandbox) -> None:
    stand_in.faults([{"kind": "slow", "seconds": 30}])
    path = simple(project, credentials("bloomreach", stand_in.url))
    assert project.killed_run(lambda: stand_in.requests() != []) == -signal.SIGKILL
    ended = project.loader("status", path)
    assert "held by" not in ended.out
    assert last_line(ended.out) in (f"loader run {path}", f"loader resolve {path} --resend")


# Signals --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_signal_while_rows_are_read(project: QuickProject, command: str, number: signal.Signals, code: int) -> None:
    (project.folder / "events.csv").write_text("number,user,at\n" + "1,17,2026-03-01T10:00:00Z\n" * 2_000_000)
    path = project.mapping(simple_mapping(*NOTHING_SET))
    runs = project.folder / ".loader" / "load" / "runs"
    with project.started(command, str(path), env={"T": "t", "I": "i", "S": "s"}) as process:
        deadline = time.monotonic() + 60
        while not list(runs.glob("*/*/*.parquet")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert out == ""
    assert err.splitlines()[-1] == "loader: interrupted; nothing was sent, nothing is kept"
    assert list(runs.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_rows_are_read_after_an_earlier_run_was_finished(
    project: QuickProject, stand_in: RunningSandbox, number: signal.Signals, code: int
) -> None:
    path = simple(project, credentials("bloomreach", stand_in.url), rows=10)
    first = project.run("--stop-after", "1").json["run"]
    (project.folder / "more.csv").write_text("number,user,at\n" + "1,17,2026-03-01T10:00:00Z\n" * 2_000_000)
    mapping = simple_mapping(credentials("bloomreach", stand_in.url))
    project.mapping({**mapping, "source": {"type": "csv", "path": ["events.csv", "more.csv"]}})
    runs = project.folder / ".loader" / "load" / "runs"
    with project.started("run", path) as process:
        deadline = time.monotonic() + 60
        while not [part for part in runs.glob("*/*/*.parquet") if part.parent.parent.name != first]:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "")
    words = "loader: interrupted; what was sent is saved, nothing new is kept; run again to go on"
    assert err.splitlines()[-1] == words
    assert [run.name for run in runs.iterdir()] == [first]
    assert len(stand_in.received()) == 9


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_events_are_sent(
    project: QuickProject, stand_in: RunningSandbox, number: signal.Signals, code: int
) -> None:
    stand_in.faults([{"kind": "slow", "seconds": 0.3}])
    path = simple(project, {**credentials("bloomreach", stand_in.url), "chunk": 1, "concurrency": 2})
    with project.started("run", path) as process:
        while len(stand_in.requests()) < 3:
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert f"interrupted ({number.name}); what was under way is finished and saved" in err
    assert out.startswith("load: interrupted (run ")
    assert last_line(out) == f"loader run {path}"


def test_ctrl_c_on_a_terminal_does_not_reach_the_stand_in(project: QuickProject) -> None:
    # A terminal signals the whole process group; requests under way must still be answered.
    path = simple(project, rows=2000)
    arguments = ("run", path, "--sandbox", "--fault", "slow:seconds=0.5")
    with project.started(*arguments, env={"LOADER_LOG": "json"}) as process:
        assert process.stderr is not None
        while json.loads(process.stderr.readline())["event"] != "delivering":
            pass
        assert os.getpgid(child_of(process)) != os.getpgid(process.pid)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert json.loads(err.splitlines()[-1])["exit"] == 130
    sums = re.search(r"\nbloomreach 1999 = 0 \+ 0 \+ (\d+) \+ (\d+) \+ (\d+)\n", flat(out.replace(",", "")))
    assert sums is not None, out
    sent, in_doubt, pending = map(int, sums.groups())
    assert sent > 0
    assert in_doubt == 0
    assert pending > 0


def test_a_log_names_run_destination_and_chunk(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, {**credentials("bloomreach", stand_in.url), "chunk": 4}, rows=12)
    stand_in.faults([{"kind": "503", "at": [2]}])
    ended = project.process("run", path, "--json", env={"LOADER_LOG": "json,debug"})
    assert ended.code == 3, ended.err
    run = ended.json["run"]
    records = [json.loads(line) for line in ended.err.splitlines()]
    assert all({"time", "level", "event", "mapping"} <= set(record) for record in records)
    requests = [record for record in records if record["event"] == "request"]
    answers = [record for record in records if record["event"] == "answer"]
    assert len(requests) == len(answers) == ended.json["destinations"][0]["requests"] == 4
    for record in [*requests, *answers]:
        assert (record["run"], record["destination"], record["level"]) == (run, "bloomreach", "debug")
    assert sorted(record["chunk"] for record in answers if record["outcome"] == "taken") == [1, 2, 3]
    (waits,) = [record for record in records if record["event"] == "retrying"]
    (failed,) = [record for record in answers if record["outcome"] == "not taken"]
    assert (waits["run"], waits["chunk"], waits["level"]) == (run, failed["chunk"], "warning")
    quiet = project.process("run", path, "--json", "--again", "--quiet", env={"LOADER_LOG": "json,debug"})
    assert quiet.err == ""
