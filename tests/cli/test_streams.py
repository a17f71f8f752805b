"""Whatever becomes of what is printed, a load is what it is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.conftest import QuickProject
from tests.support.project import ENVIRONMENT, arrived, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox


def shell(project: QuickProject, words: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m loader {words}"
    return subprocess.run(
        ["sh", "-c", command], cwd=project.folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("where", ["> /dev/full", ">&-", "2>&-", ">&- 2>&-", "--json > /dev/full"])
def test_a_load_whose_result_cannot_be_printed(project: QuickProject, stand_in: RunningSandbox, where: str) -> None:
    project.csv(numbered(10))
    path = project.mapping(simple_mapping(credentials("batch", stand_in.url)))
    ended = shell(project, f"run {path} {where}")
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr
    if "full" in where:
        assert "the result cannot be printed: No space left on device" in ended.stderr
    assert sorted(arrived(stand_in.received("batch"))) == list(range(1, 11))


@pytest.mark.parametrize("command", ["providers", "schema"])
def test_what_only_prints_says_that_it_could_not(project: QuickProject, command: str) -> None:
    ended = shell(project, f"{command} > /dev/full")
    assert ended.returncode != 0
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
