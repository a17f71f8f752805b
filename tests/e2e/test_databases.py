"""Databases whose connections break while they are read."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest
import sqlalchemy as sa

from loader.sources import again
from tests.cli.conftest import QuickProject
from tests.support.project import ENVIRONMENT, Ended, Project, arrived, credentials, simple_mapping
from tests.support.proxy import CuttingProxy
from tests.support.sandbox import RunningSandbox

ROWS = 50_000
# By which the connections of a test are known from those of others.
NAME = ""
# The rows of `simple_mapping`; row 30,000 waits, so that there is a moment half-way through.
QUERIES = {
    "postgres": f"""SELECT n AS number, (n % 7)\\:\\:text AS "user", '2026-03-01T10:00:00Z' AS at,
        CASE n WHEN 30000 THEN pg_sleep(2)\\:\\:text END AS half_way FROM generate_series(1, {ROWS}) AS n""",
    "mysql": f"""SELECT seq AS number, CAST(seq % 7 AS CHAR) AS user, '2026-03-01T10:00:00Z' AS at,
        IF(seq = 30000, SLEEP(2), NULL) AS half_way FROM seq_1_to_{ROWS}""",
}
HALF_WAY = {
    "postgres": "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND application_name = '{}'",
    "mysql": "SELECT id FROM information_schema.processlist WHERE state = 'User sleep' AND info LIKE '%%{}%%'",
}
KILL = {"postgres": "SELECT pg_terminate_backend({})", "mysql": "KILL CONNECTION {}"}


@pytest.fixture(autouse=True)
def name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of its own for each test: a database may go on for a while with a query that nobody waits for any more."""
    monkeypatch.setattr(f"{__name__}.NAME", f"loader_{uuid4().hex}")


@pytest.fixture(params=["postgres", "postgres-copy", "mysql"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, sa.URL]:
    kind, _, way = str(request.param).partition("-")
    if way:
        monkeypatch.setitem(ENVIRONMENT, "LOADER_POSTGRES", way)
        monkeypatch.setenv("LOADER_POSTGRES", way)
    return kind, sa.make_url(request.getfixturevalue(f"{kind}_url"))


def _mapping(project: Project, stand_in: RunningSandbox, kind: str, url: sa.URL) -> Path:
    if kind == "postgres":
        url = url.update_query_dict({"application_name": NAME})
    query = f"{QUERIES[kind]} -- {NAME}"
    source = {"type": "sql", "url": url.render_as_string(hide_password=False), "query": query}
    return project.mapping(simple_mapping(credentials("batch", stand_in.url) | {"chunk": 1000}, source=source))


def _kill_half_way(kind: str, url: sa.URL) -> None:
    """Break the connection of a read, as soon as one is half-way through."""
    engine = sa.create_engine(
        url.set(drivername={"postgres": "postgresql+psycopg", "mysql": "mysql+pymysql"}[kind]),
        isolation_level="AUTOCOMMIT",
    )
    half_way = HALF_WAY[kind].format(NAME)
    with engine.connect() as connection:
        deadline = time.monotonic() + 60
        while (reader := connection.exec_driver_sql(half_way).scalar()) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        connection.exec_driver_sql(KILL[kind].format(reader))
    engine.dispose()


def _nothing_is_left(project: Project, stand_in: RunningSandbox, ended: Ended) -> None:
    assert ended.code == 2, ended.err
    assert "None of it was sent: run again when the database is well" in ended.err
    assert stand_in.received("batch") == []
    assert list(project.folder.glob(".loader/*/runs/*")) == []
    assert project.loader("status", str(project.mapping_path), "--json").json["runs"] == []


def test_a_read_that_is_killed_half_way_begins_anew(
    project: Project, stand_in: RunningSandbox, database: tuple[str, sa.URL]
) -> None:
    kind, url = database
    mapping = _mapping(project, stand_in, kind, url)
    with project.start("run", str(mapping), "--json") as process:
        _kill_half_way(kind, url)
        out, err = process.communicate(timeout=120)
    ended = Ended(process.returncode, out, err)
    assert ended.code == 0, err
    assert ended.json["rows"]["read"] == ROWS
    assert sorted(arrived(stand_in.received("batch"))) == list(range(1, ROWS + 1))
    assert "nothing of this read is kept, all is read again in 1 s (1 of 3)" in err
    assert len(list(project.folder.glob(".loader/*/runs/*"))) == 1


def test_a_plan_is_replaced_once_where_the_read_begins_anew(
    project: Project, stand_in: RunningSandbox, database: tuple[str, sa.URL]
) -> None:
    kind, url = database
    mapping = _mapping(project, stand_in, kind, url)
    assert project.loader("plan", str(mapping), "--json").destination()["pending"] == ROWS
    with project.start("plan", str(mapping), "--json") as process:
        _kill_half_way(kind, url)
        out, err = process.communicate(timeout=120)
    assert Ended(process.returncode, out, err).destination()["pending"] == ROWS
    assert len(project.loader("status", str(mapping), "--json").json["runs"]) == 1
    # The plan that was replaced, which the next command removes, and the new one.
    assert len(list(project.folder.glob(".loader/*/runs/*"))) == 2


@pytest.fixture
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QuickProject:
    """A project whose lost connections are not waited for as long as a database takes to start."""
    monkeypatch.setattr(again, "WAITS", (0.2, 0.2, 0.2))
    return QuickProject(tmp_path, monkeypatch)


def test_a_connection_that_is_cut_again_and_again(
    impatient: QuickProject, stand_in: RunningSandbox, database: tuple[str, sa.URL]
) -> None:
    kind, url = database
    assert url.host is not None
    assert url.port is not None
    with CuttingProxy(url.host, url.port, after=1_000_000, cuts=100) as proxy:
        _mapping(impatient, stand_in, kind, url.set(host="127.0.0.1", port=proxy.port))
        ended = impatient.run()
        # ADBC opens two more for each read.
        each = 3 if kind == "postgres" and "LOADER_POSTGRES" not in os.environ else 1
        assert proxy.connections == 4 * each
    _nothing_is_left(impatient, stand_in, ended)


def test_a_database_that_does_not_come_back(
    impatient: QuickProject, stand_in: RunningSandbox, database: tuple[str, sa.URL]
) -> None:
    kind, url = database
    assert url.host is not None
    assert url.port is not None
    with CuttingProxy(url.host, url.port, after=1_000_000, cuts=1) as proxy:
        _mapping(impatient, stand_in, kind, url.set(host="127.0.0.1", port=proxy.port))

        def go_away() -> None:
            while proxy.connections == 0:
                time.sleep(0.001)
            proxy.refuse()

        with ThreadPoolExecutor() as pool:
            gone = pool.submit(go_away)
            ended = impatient.run()
            gone.result()
    _nothing_is_left(impatient, stand_in, ended)
    assert ended.err.count("cannot be opened") == 3


def test_a_mapping_that_init_writes_for_duckdb(project: Project, stand_in: RunningSandbox) -> None:
    with duckdb.connect(str(project.folder / "shop.duckdb")) as database:
        database.execute(
            """CREATE TABLE orders AS SELECT range AS number, 'u' || range % 7 AS "user",
            timestamptz '2026-03-01 10:00:00Z' AS at, 12.10::decimal(10,2) AS total FROM range(100)"""
        )
    ended = project.loader("init", "duckdb:///shop.duckdb", "--table", "orders", "--provider", "bloomreach")
    assert ended.code == 0, ended.err
    written = next(project.folder.glob("*.yaml"))
    assert "url: duckdb:///shop.duckdb" in written.read_text()
    source = {"type": "sql", "url": "duckdb:///shop.duckdb", "query": "SELECT * FROM orders"}
    project.mapping(simple_mapping(credentials("batch", stand_in.url), source=source))
    assert project.run().code == 0
    assert sorted(arrived(stand_in.received("batch"))) == list(range(100))


def test_a_database_that_cannot_be_opened_at_first_is_told_at_once(project: Project, stand_in: RunningSandbox) -> None:
    url = sa.make_url("postgresql://me@127.0.0.1:1/shop")
    _mapping(project, stand_in, "postgres", url)
    ended = project.run()
    assert ended.code == 2
    assert ended.err.count("cannot be opened") == 1
    assert "again" not in ended.err


def test_a_signal_while_another_read_is_waited_for(
    project: Project, stand_in: RunningSandbox, database: tuple[str, sa.URL]
) -> None:
    kind, url = database
    assert url.host is not None
    assert url.port is not None
    with CuttingProxy(url.host, url.port, after=1_000_000, cuts=100) as proxy:
        mapping = _mapping(project, stand_in, kind, url.set(host="127.0.0.1", port=proxy.port))
        with project.start("run", str(mapping)) as process:
            assert process.stderr is not None
            while "(2 of 3)" not in process.stderr.readline():
                pass
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert time.monotonic() - began < 4
    assert "Traceback" not in err
    assert list(project.folder.glob(".loader/*/runs/*")) == []


def test_a_signal_while_rows_are_waited_for(
    project: Project, stand_in: RunningSandbox, database: tuple[str, sa.URL]
) -> None:
    kind, url = database
    mapping = _mapping(project, stand_in, kind, url)
    engine = sa.create_engine(url.set(drivername={"postgres": "postgresql+psycopg", "mysql": "mysql+pymysql"}[kind]))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        with project.start("plan", str(mapping)) as process:
            deadline = time.monotonic() + 60
            while connection.exec_driver_sql(HALF_WAY[kind].format(NAME)).scalar() is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        # MariaDB sees only after its sleep that nobody listens.
        while connection.exec_driver_sql(HALF_WAY[kind].format(NAME)).scalar() is not None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    engine.dispose()
    assert list(project.folder.glob(".loader/*/runs/*")) == []
