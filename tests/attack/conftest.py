"""Projects whose commands run in this process, and a stand-in as if it were new for each test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import MEMORY, QuickProject, stand_in, tmp_path

__all__ = ["project", "stand_in", "tmp_path"]


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[QuickProject]:
    """An empty project, which is the working folder."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        monkeypatch.chdir(folder)
        yield QuickProject(Path(folder), monkeypatch)
