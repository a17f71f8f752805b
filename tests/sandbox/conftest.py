"""The sandbox that all tests share, empty at the start of each, on the evening of its documents."""

from __future__ import annotations

import pytest

from tests.support.sandbox import RunningSandbox


@pytest.fixture
def running(shared: RunningSandbox) -> RunningSandbox:
    shared.reset()
    shared.clock("2012-08-12T23:00:00")
    return shared
