"""Projects whose commands run in this process, and a stand-in per test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import QuickProject, stand_in

__all__ = ["project", "stand_in"]

MEMORY = Path("/dev/shm")


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[QuickProject]:
    """An empty project, which is the working folder; in memory where that can be, as syncing a disk takes most of the
    time of a small run."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        monkeypatch.chdir(folder)
        yield QuickProject(Path(folder), monkeypatch)
