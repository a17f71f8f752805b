"""A project in a temporary folder, and a stand-in that outlives one command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.sandbox import RunningSandbox, sandbox


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project."""
    return Project(tmp_path)


@pytest.fixture
def stand_in() -> Iterator[RunningSandbox]:
    """The stand-in of the providers."""
    with sandbox() as running:
        yield running
