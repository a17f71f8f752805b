"""Rounds of kills: a load is killed again and again, by whatever command, and goes on; what arrived is compared with
the source, read by other means than the loader's.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from ruamel.yaml import YAML

from loader.cli import main
from tests.attack.books import Books, read
from tests.attack.dying import POINTS, small
from tests.support.project import Project, numbered, simple_mapping
from tests.support.routes import Way, destination
from tests.support.sandbox import RunningSandbox

CALLS = 20
CONCURRENCY = 4
MODULE = "tests.attack.dying"

# The points that a command passes.
_PLANNING = list(POINTS)[: list(POINTS).index("plan committed")]
_SENDING = list(POINTS)[list(POINTS).index("plan committed") : list(POINTS).index("plan to be forgotten")]
_FORGETTING = ["plan to be forgotten", "plan forgotten"]
_RESENDING = ["to be sent again", "made pending again", "status set"]
_SKIPPING = ["to be skipped", "made pending again", "skipped", "status set"]
_CANCELLING = ["to be cancelled", "made pending again", "cancelled", "status set"]
_RETRYING = ["to be planned again", "planned again", "part written", "file renamed"]
# The points that a command passes more than once.
_REPEATED = {name for name in (*_PLANNING[2:8], *_SENDING) if name not in ("plan committed", "run to be concluded")}


@dataclass
class Tally:
    """What rounds have done: kills by point, and commands that ended by themselves by their exit codes."""

    kills: Counter[str] = field(default_factory=Counter)
    ended: Counter[int] = field(default_factory=Counter)
    doubled: int = 0
    rounds: int = 0


@dataclass(frozen=True)
class Round:
    """One project to kill. `policy`: what the mapping says of chunks in doubt; `resend`: what a person decides;
    `refusing`: the provider refuses many events."""

    project: Project
    stand_in: RunningSandbox
    way: Way
    chance: random.Random
    tally: Tally
    source: str
    policy: str
    resend: bool
    refusing: bool

    @property
    def mapping(self) -> str:
        """The mapping's path."""
        return str(self.project.mapping_path)

    @property
    def held(self) -> bool:
        """Whether nothing may be sent twice: what is in doubt is held, and skipped in the end."""
        return self.policy == "hold" and not self.resend

    def play(self, kills: int) -> None:
        """Kill so often, then finish, and check what arrived."""
        self._prepare()
        done = 0
        for number in range(6 * kills):
            if done == kills or self._nothing_left():
                break
            if number == 1:
                # The instant at which most is at stake: taken, and no receipt yet.
                done += self._killed(["run", self.mapping], "answered", str(self.chance.randint(1, 4)))
            else:
                done += self._step()
        self.stand_in.faults([])
        self._finish()
        self._compare()
        self.tally.rounds += 1

    def _prepare(self) -> None:
        size = 1 if self.way.full == 1 else 10
        rows = numbered(CALLS * size, 2 if (self.way.provider, self.way.route) == ("batch", "single") else 7)
        # A row without a user makes no event.
        rows[size + 1][1] = ""
        self.project.csv(rows)
        to = destination(
            self.way,
            self.stand_in,
            chunk=size,
            concurrency=CONCURRENCY,
            timeout="1s",
            give_up_after="1s",
            in_doubt=self.policy,
        )
        mapping = simple_mapping(to)
        if self.source == "sql":
            path = self.project.folder / "events.db"
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("CREATE TABLE events (number INTEGER, user TEXT, at TEXT)")
                connection.executemany("INSERT INTO events VALUES (?, NULLIF(?, ''), ?)", rows[1:])
            query = "SELECT number, user, at FROM events ORDER BY number"
            mapping["source"] = {"type": "sql", "url": f"sqlite:///{path}", "query": query}
        if self.way.what == "customer":
            event = mapping.pop("event")
            mapping["customer"] = {key: event[key] for key in ("user", "time", "properties")}
        elif self.chance.random() < 0.5:
            mapping["event"]["id"] = "number"
        with self.project.mapping_path.open("w", encoding="utf-8") as file:
            YAML(typ="safe").dump(mapping, file)

    def _faults(self) -> None:
        slow = {"kind": "slow", "probability": 0.6, "seconds": 0.02, "seed": self.chance.randrange(1000)}
        kinds = ["500", "503", "lost_answer", "truncated", "reset_before", "partial", "never", "502_html"]
        if self.way.provider != "batch":
            # Batch asks for five seconds at least after this one.
            kinds.append("429")
        faults: list[dict[str, Any]] = [slow]
        if self.refusing:
            seed = self.chance.randrange(1000)
            faults.insert(0, {"kind": "partial", "probability": 0.4, "seed": seed, "share": 0.3})
        elif self.chance.random() < 0.5:
            seed = self.chance.randrange(1000)
            faults.insert(0, {"kind": self.chance.choice(kinds), "probability": 0.15, "seed": seed, "share": 0.3})
        self.stand_in.faults(faults)

    def _step(self) -> bool:
        """Some command that is to be killed at some point; whether it was."""
        arguments, points = self._command()
        point = self.chance.choice(points)
        nth = str(self.chance.randint(1, 4) if point in _REPEATED else 1)
        if self.chance.random() < 0.3:
            point, nth = "instant", f"{self.chance.uniform(0, 0.4):.3f}"
        return self._killed(arguments, point, nth)

    def _killed(self, arguments: list[str], point: str, nth: str) -> bool:
        """A command that is to be killed at the `nth` passing of a point; whether it was."""
        self._faults()
        with self.project.start(point, nth, *arguments, module=MODULE) as process:
            if self.chance.random() < 0.15:
                self._intrude(process)
            _, err = process.communicate(timeout=120)
        killed = process.returncode == -signal.SIGKILL
        if killed:
            self.tally.kills[point] += 1
        else:
            self._ended(process.returncode, err, f"{arguments} {point} {nth}")
        self._add_up()
        return killed

    def _nothing_left(self) -> bool:
        books = read(self._state)
        return books is not None and bool(books.runs) and not (books.unfinished or books.doubts or books.refused)

    def _command(self) -> tuple[list[str], list[str]]:
        """A command that has something to do as things stand, and points that it may pass."""
        books = read(self._state)
        where = [self.mapping]
        choices = [(["run", *where], _SENDING), (["run", *where], _SENDING)]
        if books is None or not books.runs:
            choices = [(["run", *where], _PLANNING), (["plan", *where], _PLANNING), *choices]
        elif books.unfinished:
            choices.append((["run", *where, "--stop-after", str(self.chance.randint(1, 40))], _SENDING))
            untouched = not any(row["attempts"] for row in books.chunks)
            if untouched:
                choices.append((["plan", *where], [*_PLANNING, *_FORGETTING]))
                choices.append((["cancel", *where, "--yes"], _FORGETTING))
            elif self.chance.random() < 0.3:
                choices.append((["cancel", *where, "--yes"], _CANCELLING))
        if books is not None and books.doubts:
            choices += [self._resolution()] * 2
        if books is not None and books.refused:
            choices += [(["retry", *where], _RETRYING), (["retry", *where], _SENDING)] * 2
        return self.chance.choice(choices)

    def _resolution(self) -> tuple[list[str], list[str]]:
        how, points = ("--resend", _RESENDING) if self.resend else ("--skip", _SKIPPING)
        return ["resolve", self.mapping, how], points

    def _intrude(self, first: subprocess.Popen[str]) -> None:
        """A second process while the first one is there or has just died: it is turned away, or goes on."""
        arguments = self.chance.choice([["run"], ["plan"], ["cancel", "--yes"], ["status"]])
        with self.project.start("never", "0", arguments[0], self.mapping, *arguments[1:], module=MODULE) as second:
            _, err = second.communicate(timeout=120)
        self._ended(second.returncode, err, f"{arguments} beside process {first.pid}")

    def _ended(self, code: int, err: str, what: str) -> None:
        self.tally.ended[code] += 1
        # 1 is a bug. With 2 a command says that nothing was there to be done, or planned anew.
        assert "Traceback" not in err, f"{what}:\n{err}"
        assert code in (0, 3, 5, 7, 8), f"{what}: exit {code}\n{err}"

    @property
    def _state(self) -> Path:
        return self.project.folder / ".loader" / "load"

    def _add_up(self) -> Books | None:
        """The books, which add up, and `loader status` says the same."""
        if not self._state.exists():
            return None
        books = read(self._state)
        with tempfile.TemporaryDirectory(prefix="status-") as copy:
            state = shutil.copytree(self.project.folder / ".loader", copy, dirs_exist_ok=True)
            told = CliRunner().invoke(main, ["status", self.mapping, "--json", "--state", state], prog_name="loader")
        assert told.exit_code == 0, told.output
        if books is None:
            return None
        shown = {}
        runs = json.loads(told.stdout)["runs"]
        for run in runs:
            for to in run["destinations"]:
                events = to["events"]
                counted = ("already_delivered", "rejected", "sent", "in_doubt", "pending")
                assert events["total"] == sum(events[name] for name in counted), events
                shown[run["run"], to["name"]] = {name: events[name] for name in counted[1:]}
        assert shown == books.totals()
        under_way = sum(chunk["status"] == "sending" for chunk in books.chunks)
        assert under_way <= CONCURRENCY, f"{under_way} chunks were in flight"
        return books

    def _finish(self) -> None:
        for _ in range(8):
            code = self._whole("run", self.mapping)
            if code in (0, 3) and not self._books().unfinished:
                break
            if code == 7:
                assert self._whole(*self._resolution()[0]) == 0
        books = self._books()
        assert not books.unfinished
        assert not books.doubts
        before = len(self.stand_in.requests())
        # Rows that make no event are told again where nothing says that they were read before.
        assert self._whole("run", self.mapping) in (0, 3)
        assert len(self.stand_in.requests()) == before, "what is done was sent again"

    def _whole(self, *arguments: str) -> int:
        """A command that nobody kills, so that it needs no process of its own."""
        env = {name: None for name in os.environ if name.startswith("LOADER_")}
        with small():
            ended = CliRunner().invoke(main, arguments, env=env, prog_name="loader")
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        self._ended(ended.exit_code, ended.stderr, " ".join(arguments))
        self._add_up()
        return ended.exit_code

    def _books(self) -> Books:
        books = self._add_up()
        assert books is not None
        return books

    def _compare(self) -> None:
        """What arrived, against the source."""
        books = self._books()
        expected = self._read_source()
        got: Counter[int] = Counter()
        for line in self.stand_in.received(self.way.provider):
            number, user = _seen(line)
            assert expected[number] == user, f"row {number} arrived for {user!r}, not for {expected[number]!r}"
            got[number] += 1
        dropped = {refusal["row"]: refusal["reason"] for refusal in books.refusals if refusal["retried"] is None}
        doubted = books.doubted_rows()
        lost = expected.keys() - got.keys() - dropped.keys()
        assert not lost, f"lost: {sorted(lost)}"
        sent = books.sent_rows()
        # An event with an id that was cancelled is new to the next run.
        uncertain = {row for row in dropped.keys() - doubted - sent if got[row]}
        assert not uncertain, f"rejected, but arrived: {sorted(uncertain)}"
        assert sent <= got.keys(), f"counted as sent, but did not arrive: {sorted(sent - got.keys())}"
        doubled = {number for number, count in got.items() if count > 1}
        assert doubled <= doubted, f"sent twice without a doubt: {sorted(doubled - doubted)}"
        assert not (self.held and doubled), f"held, but sent again: {sorted(doubled)}"
        self.tally.doubled += len(doubled)

    def _read_source(self) -> dict[int, str]:
        """Each row that makes an event: its number → its user."""
        if self.source == "sql":
            with closing(sqlite3.connect(self.project.folder / "events.db")) as connection:
                found = connection.execute("SELECT number, user FROM events WHERE user IS NOT NULL")
                return dict(found.fetchall())
        with (self.project.folder / "events.csv").open(newline="", encoding="utf-8") as file:
            return {int(row["number"]): row["user"] for row in csv.DictReader(file) if row["user"]}


def _seen(line: dict[str, Any]) -> tuple[int, str]:
    """Number and user of something that the sandbox took."""
    if line["provider"] == "bloomreach":
        data = line["command"]["data"]
        return data["properties"]["number"], data["customer_ids"]["registered"]
    event = line["event"]
    if line["provider"] == "batch":
        return event["attributes"]["number"], line["user"]
    if line["provider"] == "appizer":
        return event["properties"]["number"], event["user_id"]
    return event["data"]["number"], line["profile_id"]


def kill(ways: Sequence[Way], seed: int, count: int, stand_in: RunningSandbox, say: Callable[[str], object]) -> Tally:
    """Rounds over `ways` until `count` processes were killed. Fails with AssertionError where something was lost, was
    doubled or does not add up; `say` is told the seed of each round."""
    tally = Tally()
    while tally.kills.total() < count:
        way, its_seed = ways[tally.rounds % len(ways)], seed * 1_000_000 + tally.rounds
        chance = random.Random(its_seed)
        source, policy = chance.choice(["csv", "sql"]), chance.choice(["hold", "hold", "resend"])
        resend, refusing, kills = chance.random() < 0.5, chance.random() < 0.5, chance.randint(3, 8)
        say(f"{tally.kills.total():>4} kills; round {its_seed}: {way}, {source}, {policy}, {resend=}, {refusing=}")
        stand_in.reset()
        with tempfile.TemporaryDirectory(prefix="kills-") as folder:
            its = Round(Project(Path(folder)), stand_in, way, chance, tally, source, policy, resend, refusing)
            its.play(min(kills, count - tally.kills.total()))
    return tally
