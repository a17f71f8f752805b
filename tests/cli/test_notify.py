"""Notices to a webhook: when a load ends in another way than before, once, and without any effect on the load."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from loader.errors import Exit
from loader.report.ending import Ending
from loader.state import hold, state_folder
from tests.cli.conftest import QuickProject
from tests.support.project import Ended, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox
from tests.support.wire import Exchange, Wire, http

PATH = "/services/T0/B0/planted-webhook-secret"


def taken(_body: bytes) -> tuple[int, bytes]:
    return 200, b"ok"


class Nights:
    """`loader run` night after night, with a webhook that keeps what it gets."""

    def __init__(self, project: QuickProject, hook: Wire) -> None:
        self.project, self.hook = project, hook
        self.said: list[Ended] = []

    def run(self, *arguments: str, process: bool = False, **env: str) -> tuple[int, list[dict[str, Any]]]:
        """The exit code of another run, and what the webhook got of it."""
        before = len(self.hook.bodies)
        variables = {"LOADER_NOTIFY_URL": self.hook.url + PATH, **env}
        start = self.project.process if process else self.project.loader
        ended = start("run", "load.yaml", *arguments, env=variables)
        self.said.append(ended)
        return ended.code, [json.loads(body) for body in self.hook.bodies[before:]]

    def nothing_told(self) -> None:
        """The webhook's address is nowhere."""
        for ended in self.said:
            assert "planted" not in ended.out + ended.err
        for path in self.project.folder.rglob("*"):
            assert not path.is_file() or b"planted" not in path.read_bytes(), path


def test_only_changes_are_told(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(20))
    path = project.mapping(simple_mapping(credentials("bloomreach", stand_in.url)))
    with Wire(taken) as hook:
        nights = Nights(project, hook)
        assert nights.run() == (0, []), "that all is well is no news"
        project.csv([["number", "user", "at"], ["x", "", "never"]], "events.csv")
        code, (notice,) = nights.run("--again", process=True)
        assert code == 3
        assert (notice["mapping"], notice["outcome"], notice["exit"], notice["exit_before"]) == (
            "load",
            "rejected",
            3,
            0,
        )
        assert notice["run"]["rows"] == {"read": 1, "filtered": 0, "rejected": 1, "events": 0}
        assert notice["next"] == f"loader rejects {path}"
        assert nights.run("--again") == (3, [])
        assert len(nights.run("--again", LOADER_NOTIFY_AGAIN="1")[1]) == 1
        project.csv(numbered(30))
        stand_in.faults([{"kind": "401"}])
        code, (notice,) = nights.run("--again")
        assert (code, notice["outcome"], notice["exit"], notice["exit_before"]) == (6, "failed", 6, 3)
        assert "refused the credentials or the route" in notice["message"]
        assert notice["next"] == f"loader run {path}"
        assert notice["run"]["destinations"][0]["events"]["pending"] == 30
        assert nights.run() == (6, [])
        stand_in.faults([])
        code, (notice,) = nights.run()
        assert (code, notice["outcome"], notice["message"], notice["next"]) == (0, "ok", None, None)
        assert notice["exit_before"] == 6
        assert nights.run("--again") == (0, [])
    nights.nothing_told()


def test_what_fails_before_there_is_a_plan(project: QuickProject, stand_in: RunningSandbox) -> None:
    mapping = simple_mapping(credentials("bloomreach", stand_in.url))
    path = project.folder / "load.yaml"
    with Wire(taken) as hook:
        nights = Nights(project, hook)
        code, (notice,) = nights.run()
        assert (code, notice["message"], notice["run"]) == (2, "load.yaml does not exist", None)
        assert notice["next"] == f"loader doctor {path}"
        assert nights.run() == (2, [])
        project.mapping({**mapping, "timezone": "Nowhere/Nowhere"})
        code, (notice,) = nights.run()
        assert (code, "no time zone 'Nowhere/Nowhere'" in notice["message"]) == (2, True)
        project.mapping(mapping)
        code, (notice,) = nights.run()
        assert (code, notice["message"].endswith("there is no such file")) == (2, True)
        project.csv([["number", "user", "at"], ["x", "", "never"]])
        code, (notice,) = nights.run("--max-rejected", "0")
        assert (code, notice["next"]) == (4, f"loader plan {path}")
        with hold(state_folder(path, None)):
            code, (notice,) = nights.run()
        assert (code, notice["next"]) == (8, f"loader status {path}")
    nights.nothing_told()


def test_what_stops_half_way(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(20))
    batch = {**credentials("batch", stand_in.url), "chunk": 10}
    path = project.mapping(
        simple_mapping(batch, {**credentials("bloomreach", "http://127.0.0.1:1"), "give_up_after": 0})
    )
    stand_in.faults([{"kind": "lost_answer", "at": [1]}])
    with Wire(taken) as hook:
        nights = Nights(project, hook)
        code, (notice,) = nights.run()
        assert (code, notice["exit"], notice["next"]) == (5, 5, f"loader run {path}")
        # That it took another time to give up is no other outcome.
        assert nights.run() == (5, [])
        project.mapping(simple_mapping(batch, credentials("bloomreach", stand_in.url)))
        code, (notice,) = nights.run()
        assert (code, notice["outcome"], notice["next"]) == (7, "in_doubt", f"loader resolve {path} --resend")


def test_the_shape_for_slack(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv([*numbered(3), ["<4>", "a&b", "never"]])
    mapping = project.mapping(simple_mapping(credentials("bloomreach", stand_in.url)))
    with Wire(taken) as hook:
        nights = Nights(project, hook)
        code, (notice,) = nights.run(LOADER_NOTIFY_FORMAT="slack")
        assert (code, list(notice)) == (3, ["text"])
        first, run, destination, following = notice["text"].splitlines()
        assert first.startswith("*load* on ")
        assert first.endswith(": finished, with rejections (exit 3)")
        assert run.endswith(": 4 rows read, 1 rejected")
        assert destination == "bloomreach: 3 events, 3 sent"
        assert following == f"```loader rejects {mapping}```"
        source = {"type": "csv", "path": "a<b&c>.csv"}
        project.mapping(simple_mapping(credentials("bloomreach", stand_in.url), source=source))
        code, (notice,) = nights.run("--again", LOADER_NOTIFY_FORMAT="slack")
        assert code == 2
        assert "/a&lt;b&amp;c&gt;.csv: there is no such file" in notice["text"]


@pytest.mark.parametrize("what", ["refuses", "is silent", "is not there", "is no address", "hangs up"])
def test_a_webhook_that_fails_changes_nothing(
    project: QuickProject, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("loader.sending.webhook.SECONDS", 0.3)

    async def act(wire: Wire, exchange: Exchange) -> bool:
        await wire.read(exchange)
        if what == "is silent":
            await exchange.reader.read()
        elif what == "refuses":
            await exchange.write(http(404, b"no_service /planted"))
        return False

    with Wire(taken, act) as hook:
        nights = Nights(project, hook)
        elsewhere = {"is not there": "http://127.0.0.1:1/planted", "is no address": "hooks.slack.com/planted"}
        code, _ = nights.run(LOADER_NOTIFY_URL=elsewhere.get(what, hook.url + PATH))
        assert code == 2
        err = nights.said[0].err.splitlines()
        assert err[-1] == "loader: load.yaml does not exist"
        assert len(err) == 2
        if what == "is no address":
            assert err[0] == "loader: LOADER_NOTIFY_URL is no http(s) address; nobody is told how the load ended"
        else:
            assert err[0].startswith("loader: the notice to 127.0.0.1 was not taken (")
            assert err[0].endswith("); the next run tries again")
        # It is told as soon as somebody listens.
        code, (notice,) = nights.run()
        assert (code, notice["message"]) == (2, "load.yaml does not exist")
    nights.nothing_told()


def test_warnings_are_json_where_logs_are(project: QuickProject) -> None:
    ended = project.loader("run", "load.yaml", env={"LOADER_NOTIFY_URL": "nowhere", "LOADER_LOG": "json"})
    warning, error = map(json.loads, ended.err.splitlines())
    assert (warning["event"], error["event"], error["exit"]) == ("warning", "error", 2)


def test_a_rehearsal_and_a_person_wake_nobody(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv([["number", "user", "at"], ["x", "", "never"]])
    project.mapping(simple_mapping(credentials("bloomreach", stand_in.url)))
    with Wire(taken) as hook:
        nights = Nights(project, hook)
        assert nights.run("--sandbox") == (3, [])
        assert nights.run("--frobnicate") == (2, [])
    assert not Path(".loader").exists()


def test_a_bug_is_told_without_its_words(project: QuickProject, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a row of the data")

    project.mapping(simple_mapping(credentials("bloomreach", "http://127.0.0.1:1")))
    monkeypatch.setattr("loader.pipeline.run", broken)
    with Wire(taken) as hook:
        with pytest.raises(ZeroDivisionError):
            Nights(project, hook).run()
        (notice,) = [json.loads(body) for body in hook.bodies]
    assert (notice["exit"], notice["message"]) == (1, "ZeroDivisionError")


@pytest.mark.parametrize(("number", "code", "told"), [(signal.SIGTERM, 143, [143]), (signal.SIGINT, 130, [])])
def test_who_ends_a_load_by_hand_knows_it(
    project: QuickProject, stand_in: RunningSandbox, number: signal.Signals, code: int, told: list[int]
) -> None:
    project.csv(numbered(40))
    path = str(project.mapping(simple_mapping({**credentials("bloomreach", stand_in.url), "chunk": 1})))
    stand_in.faults([{"kind": "slow", "seconds": 0.3}])
    with Wire(taken) as hook:
        with project.started("run", path, env={"LOADER_NOTIFY_URL": hook.url + PATH}) as process:
            while len(stand_in.requests()) < 3:
                time.sleep(0.02)
            process.send_signal(number)
            process.communicate(timeout=30)
        assert process.returncode == code
        assert [json.loads(body)["exit"] for body in hook.bodies] == told


def test_numbers_and_dates_make_no_other_outcome() -> None:
    def of(code: Exit, message: str) -> tuple[int, str]:
        return Ending(Path("a.yaml"), None, code, message).told_apart

    one = of(Exit.WRONG, "in/orders_2026-11-20.csv, row 17: 3 cells")
    assert one == of(Exit.WRONG, "in/orders_2026-11-21.csv, row 231: 4 cells")
    assert one != of(Exit.WRONG, "in/orders_2026-11-21.csv: there is no such file")
    assert of(Exit.UNREACHABLE, "no connection") == of(Exit.UNREACHABLE, "HTTP 503: maintenance")
