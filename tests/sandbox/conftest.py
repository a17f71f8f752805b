"""One sandbox for all tests that need no switches of their own, empty at the start of each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.sandbox import RunningSandbox, sandbox


@pytest.fixture(scope="session")
def shared() -> Iterator[RunningSandbox]:
    with sandbox() as running:
        yield running


@pytest.fixture
def running(shared: RunningSandbox) -> RunningSandbox:
    shared.reset()
    shared.clock("2012-08-12T23:00:00")
    return shared
