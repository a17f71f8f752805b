"""Whatever becomes of what is printed, and however files are named, a load is what it is."""

from __future__ import annotations

import os
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


def test_names_that_are_not_utf8(project: QuickProject, stand_in: RunningSandbox) -> None:
    rows = project.csv(numbered(10))
    odd = os.fsencode(project.folder) + b"/\xff\xe9.csv"
    os.link(rows, odd)
    source = {"type": "csv", "path": "*.csv"}
    path = project.mapping(simple_mapping(credentials("batch", stand_in.url), source=source))
    ended = project.process("run", str(path))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith("\\xff\\xe9.csv: the name is not UTF-8; rename the file\n")
    os.unlink(odd)
    mapping = os.fsencode(project.folder) + b"/\xff.yaml"
    os.rename(path, mapping)
    ended = project.process("run", os.fsdecode(mapping))
    assert (ended.code, ended.out) == (2, "")
    assert "\\xff: the name is not UTF-8; rename the mapping" in ended.err
    assert stand_in.received("batch") == []
