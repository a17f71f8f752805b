"""`loader doctor`: one line for each thing that would stop a run, and nothing changed by looking."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import trustme

from loader.state import hold, state_folder
from tests.cli.conftest import QuickProject
from tests.support.project import Ended, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox
from tests.support.wire import Exchange, Wire, http


def simple(project: QuickProject, url: str, **more: Any) -> str:
    """A mapping of ten rows."""
    project.csv(numbered(10))
    return str(project.mapping(simple_mapping(credentials("bloomreach", url), **more)))


def checks(ended: Ended) -> dict[str, tuple[str, str]]:
    """Each check's status and message."""
    return {check["check"]: (check["status"], check["message"]) for check in ended.json["checks"]}


async def answered(wire: Wire, exchange: Exchange, status: int, *headers: str) -> bool:
    """A `HEAD` has no body, and its answer has none."""
    await exchange.write(http(status, b"", *headers))
    return False


def test_all_is_well(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, stand_in.url)
    ended = project.process("doctor", path)
    assert ended.code == 0, ended.out
    lines = ended.out.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("ok")] == [
        ["ok", name] for name in ("mapping", "credentials", "state", "source", "disk", "bloomreach", "notices")
    ]
    assert "10 events of the first 10 rows" in ended.out
    assert lines[-2:] == ["all is well; to load what is new:", f"loader run {path}"]
    # One request without a body or credentials, and no trace on the disk.
    assert [(one["status"], one["events"], one["bytes"]) for one in stand_in.requests()] == [(404, 0, 0)]
    assert stand_in.received() == []
    assert not Path(".loader").exists()
    project.mapping(simple_mapping(credentials("bloomreach", stand_in.url), where="number > '5'"))
    assert "; 3 columns, 4 events of the first 10 rows (6 filtered)" in project.loader("doctor", path).out
    assert sorted(os.listdir()) == ["events.csv", "load.yaml"]


def test_after_a_run_nothing_is_new_and_the_state_is_told(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, stand_in.url)
    assert project.run().code == 0
    before = {str(p): p.stat().st_mtime_ns for p in Path(".loader").rglob("*") if "-shm" not in p.name}
    found = checks(project.loader("doctor", path, "--json"))
    assert found["source"][1].startswith("1 file (0 new, 0 bytes); 3 columns, 10 events of the first 10 rows")
    assert "the checkpoint (version " in found["state"][1]
    assert found["runs"] == ("ok", "all are finished, nothing is in doubt, and the newest adds up")
    after = {str(p): p.stat().st_mtime_ns for p in Path(".loader").rglob("*") if "-shm" not in p.name}
    assert {name for name in before if Path(name).is_file()} == {name for name in after if Path(name).is_file()}


def test_missing_credentials_hide_nothing_else(project: QuickProject, stand_in: RunningSandbox) -> None:
    destination = {**credentials("bloomreach", stand_in.url), "api_secret": "${SHOP_SECRET}"}
    project.csv(numbered(10))
    path = str(project.mapping(simple_mapping(destination)))
    ended = project.loader("doctor", path, "--json")
    assert (ended.code, ended.json["ok"], ended.json["exit"]) == (2, False, 2)
    found = checks(ended)
    assert found["credentials"][0] == "problem"
    assert "the environment variable SHOP_SECRET is not set" in found["credentials"][1]
    assert [found[name][0] for name in ("mapping", "source", "state", "disk", "bloomreach")] == ["ok"] * 5
    ended = project.loader("doctor", path, "--json", env={"SHOP_SECRET": "hush-hush-hush"})
    assert ended.code == 0
    assert "hush" not in ended.out


def test_a_mapping_that_cannot_be_read(project: QuickProject) -> None:
    Path("load.yaml").write_text("source: {type: csv}\n")
    ended = project.loader("doctor", "load.yaml")
    assert ended.code == 2
    assert ended.out.startswith(
        "problem  mapping      load.yaml:1:1: 'destinations' is missing\n" + 22 * " " + "load.yaml:1:9"
    )
    assert "ok       state " in ended.out
    assert "bloomreach" not in ended.out


def test_sources_that_cannot_be_read_or_used(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, stand_in.url)
    Path("events.csv").unlink()
    ended = project.loader("doctor", path, "--json")
    assert ended.code == 2
    assert checks(ended)["source"] == ("problem", f"{project.folder}/events.csv: there is no such file")
    project.csv([["number", "user", "at"], *[["x", "", "never"]] * 5])
    ended = project.loader("doctor", path, "--json")
    assert ended.code == 0
    status, message = checks(ended)["source"]
    assert (status, message.split("; ", 1)[1]) == (
        "warning",
        f"3 columns, 0 events of the first 5 rows; see why with `loader preview {path}`",
    )
    unreachable = {"type": "sql", "url": "postgresql://nobody:hush@127.0.0.1:1/none", "query": "SELECT 1"}
    project.mapping(simple_mapping(credentials("bloomreach", stand_in.url), source=unreachable))
    ended = project.loader("doctor", path, "--json")
    assert (ended.code, checks(ended)["source"][0]) == (2, "problem")
    assert "hush" not in ended.out


def test_a_query_starts_at_the_stored_cursor(project: QuickProject, stand_in: RunningSandbox) -> None:
    engine = sa.create_engine(f"sqlite:///{project.folder}/shop.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE events (number INTEGER, user TEXT, at TEXT)")
        connection.exec_driver_sql("INSERT INTO events VALUES (1, 'a', '2026-03-01T10:00:00Z')")
    source = {
        "type": "sql",
        "url": "sqlite:///shop.db",
        "query": "SELECT * FROM events WHERE number > :cursor",
        "cursor": {"column": "number", "initial": 0},
    }
    path = str(project.mapping(simple_mapping(credentials("bloomreach", stand_in.url), source=source)))
    assert "1 event of the first 1 row" in checks(project.loader("doctor", path, "--json"))["source"][1]
    assert project.run().code == 0
    assert checks(project.loader("doctor", path, "--json"))["source"] == ("ok", "3 columns, no row to load")


def test_the_state(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, stand_in.url)
    folder = state_folder(Path(path), None)
    with hold(folder):
        ended = project.loader("doctor", path, "--json")
    assert ended.code == 8
    assert f"process {os.getpid()} on " in checks(ended)["lock"][1]
    checkpoint = folder / "checkpoint.db"
    checkpoint.write_bytes(b"no database at all" * 100)
    ended = project.loader("doctor", path, "--json")
    assert (ended.code, checks(ended)["state"][0]) == (2, "problem")
    assert "checkpoint.db is damaged" in checks(ended)["state"][1]
    checkpoint.unlink()
    assert project.run("--stop-after", "3").code == 0
    ended = project.loader("doctor", path, "--json")
    assert (ended.code, checks(ended)["runs"][0]) == (0, "warning")
    assert "the next run sends its 7 events first" in checks(ended)["runs"][1]
    (part,) = folder.glob("runs/*/bloomreach/*.parquet")
    whole = part.read_bytes()
    part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    ended = project.loader("doctor", path, "--json")
    assert (ended.code, checks(ended)["runs"][0]) == (2, "problem")
    assert "00001.parquet is damaged, a part of the plan" in checks(ended)["runs"][1]
    part.write_bytes(whole)
    with sa.create_engine(f"sqlite:///{checkpoint}").begin() as connection:
        connection.exec_driver_sql("UPDATE meta SET version = 999")
    ended = project.loader("doctor", path, "--json")
    assert (ended.code, checks(ended)["state"][0]) == (2, "problem")
    assert "was written by another version of the loader (checkpoint version 999" in checks(ended)["state"][1]
    Path("a_file").touch()
    ended = project.loader("doctor", path, "--json", "--state", "/proc/loader")
    assert (ended.code, checks(ended)["state"][0]) == (2, "problem")
    assert "/proc cannot be written" in checks(ended)["state"][1]


def test_chunks_in_doubt(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(10))
    path = str(project.mapping(simple_mapping(credentials("batch", stand_in.url))))
    stand_in.faults([{"kind": "lost_answer", "at": [1]}])
    assert project.run().code == 7
    status, message = checks(project.loader("doctor", path, "--json"))["runs"]
    assert status == "warning"
    assert message.endswith(f"chunks are in doubt; decide, such as with `loader resolve {path} --skip`")


def test_providers_that_do_not_answer(project: QuickProject) -> None:
    project.csv(numbered(10))
    destinations = [
        {**credentials("bloomreach", "http://127.0.0.1:1"), "name": "closed"},
        {**credentials("bloomreach", "https://no-such-host.invalid"), "name": "unknown"},
    ]
    path = str(project.mapping(simple_mapping(*destinations)))
    ended = project.loader("doctor", path, "--json")
    assert ended.code == 5
    found = checks(ended)
    assert found["closed"][0] == found["unknown"][0] == "problem"
    assert found["closed"][1].startswith("http://127.0.0.1:1 cannot be reached: no connection (")
    assert found["unknown"][1].endswith("the firewall and the proxy (HTTPS_PROXY)")
    assert "clock" not in found


def test_tls_that_nobody_vouches_for(project: QuickProject) -> None:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with Wire(lambda body: (200, body), secure=context) as wire:
        path = simple(project, wire.url)
        ended = project.loader("doctor", path, "--json")
    status, message = checks(ended)["bloomreach"]
    assert (ended.code, status) == (5, "problem")
    assert "certificate" in message
    assert message.endswith("(SSL_CERT_FILE), and who opens its traffic on the way")


@pytest.mark.parametrize(
    ("status", "off", "expected"),
    [
        (404, 0, ("ok", "ok")),
        (503, 0, ("warning", "ok")),
        (407, -3600, ("problem", "warning")),
        (405, 125, ("ok", "warning")),
    ],
)
def test_answers_and_clocks(project: QuickProject, status: int, off: int, expected: tuple[str, str]) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=off), usegmt=True)

    async def act(wire: Wire, exchange: Exchange) -> bool:
        return await answered(wire, exchange, status, f"Date: {date}")

    with Wire(lambda body: (200, body), act) as wire:
        path = simple(project, wire.url)
        ended = project.loader("doctor", path, "--json")
    found = checks(ended)
    assert (found["bloomreach"][0], found["clock"][0]) == expected, found
    assert ended.code == (5 if status == 407 else 0)
    if off:
        said = re.search(r"(\d+) s (behind|ahead of) that of bloomreach", found["clock"][1])
        assert said is not None
        assert abs(int(said[1]) - abs(off)) <= 2
        assert said[2] == ("behind" if off > 0 else "ahead of")
    head = wire.heads[0].decode().lower()
    assert head.startswith("head / http/1.1\r\n")
    assert "authorization" not in head
    assert wire.bodies == []


def test_a_disk_without_room(project: QuickProject, stand_in: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    from loader import examining

    path = simple(project, stand_in.url)
    with monkeypatch.context() as changed:
        changed.setattr(examining, "LEAST_FREE", 10**18)
        ended = project.loader("doctor", path, "--json")
    assert (ended.code, checks(ended)["disk"][0]) == (2, "problem")
    assert project.run().code == 0
    # A plan as large as no disk, of which no block is written.
    with next(Path(".loader/load/runs").glob("*/bloomreach/*.parquet")).open("rb+") as file:
        file.truncate(10**13)
    status, message = checks(project.loader("doctor", path, "--json"))["disk"]
    assert (status, "; the largest plan so far took 10.0 TB. Free some" in message) == ("warning", True)


def test_json_is_one_object(project: QuickProject, stand_in: RunningSandbox) -> None:
    shown = project.loader("doctor", simple(project, stand_in.url), "--json").json
    assert set(shown) == {"mapping", "ok", "exit", "checks"}
    assert {key for check in shown["checks"] for key in check} == {"check", "status", "message"}


def test_who_is_told(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, stand_in.url)
    for url, found in (
        ("https://hooks.slack.com/services/planted", ("ok", "hooks.slack.com is told when a load ends in ")),
        ("hooks.slack.com/services/planted", ("warning", "LOADER_NOTIFY_URL is no http(s) address")),
    ):
        ended = project.loader("doctor", path, "--json", env={"LOADER_NOTIFY_URL": url})
        assert ended.code == 0
        status, message = checks(ended)["notices"]
        assert (status, message[: len(found[1])]) == found
        assert "planted" not in ended.out
