"""Killed at any point of any command, a load goes on: nothing is lost, and nothing is sent twice that is not in doubt.

The long form: `python -m tests.attack kills`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import reduce

import pytest

from tests.attack.dying import POINTS
from tests.attack.kills import kill
from tests.support.routes import WAYS, Way
from tests.support.sandbox import RunningSandbox, sandbox

KILLS = 3


@pytest.fixture(scope="module")
def patient() -> Iterator[RunningSandbox]:
    """One sandbox for all rounds."""
    with sandbox("--appizer-unlimited") as running:
        yield running


@pytest.mark.parametrize("way", WAYS, ids=lambda w: f"{w.provider}-{w.route}-{w.what}")
def test_killed_again_and_again_nothing_is_lost_or_doubled(way: Way, patient: RunningSandbox) -> None:
    assert kill([way], WAYS.index(way), KILLS, patient, print).kills.total() == KILLS


def test_every_point_is_there() -> None:
    for module, path, _ in POINTS.values():
        assert callable(reduce(getattr, path.split("."), importlib.import_module(module)))
