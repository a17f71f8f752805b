"""A project in a temporary folder whose commands run in this process, and a stand-in that outlives one command."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from loader.cli import main
from tests.support.project import ENVIRONMENT, Ended, Project
from tests.support.sandbox import RunningSandbox

# Syncing a disk takes most of the time of a small run.
_MEMORY = Path("/dev/shm")
MEMORY = _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 1 << 30 else None


class QuickProject(Project):
    """A project whose commands run in this process, which saves most of their time. `process`: in one of their own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
        for name in [name for name in os.environ if name.startswith("LOADER_")]:
            monkeypatch.delenv(name)

    def loader(self, *arguments: str, env: dict[str, str] | None = None, timeout: float = 120) -> Ended:
        """`loader` with these arguments; a bug fails the test."""
        del timeout
        result = CliRunner().invoke(main, arguments, env=env, prog_name="loader")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)

    def process(self, *arguments: str, env: dict[str, str] | None = None) -> Ended:
        """`loader` with these arguments as a process."""
        return super().loader(*arguments, env=env)

    @contextlib.contextmanager
    def started(self, *arguments: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
        """`loader` with these arguments, running; it does not outlive the block."""
        with self.start(*arguments, env=env) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that is gone afterwards; in memory where that can be."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QuickProject:
    """An empty project, which is the working folder."""
    return QuickProject(tmp_path, monkeypatch)


@pytest.fixture
def stand_in(shared: RunningSandbox) -> RunningSandbox:
    """The stand-in of the providers, as if it had just been started."""
    shared.renew()
    return shared
