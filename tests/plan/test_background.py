"""Reading ahead and writing behind: nothing out of order, no error lost, nothing left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from loader.plan.background import AHEAD, WAITING, Background, read_ahead


def test_items_come_in_their_order() -> None:
    with closing(read_ahead(iter(range(100)))) as items:
        assert list(items) == list(range(100))


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken")

    found: list[int] = []
    with closing(read_ahead(items())) as ahead, pytest.raises(ValueError, match="broken"):
        found.extend(iter(ahead.__next__, None))
    assert found == [1, 2]


def test_no_more_is_read_ahead_than_is_bounded_and_nothing_after_the_close() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            made.append(item)
            yield item

    with closing(read_ahead(items())) as ahead:
        assert next(ahead) == 0
    assert len(made) <= AHEAD + 1
    assert not any(thread.name.startswith("reading") for thread in threading.enumerate())


def test_actions_are_done_in_order() -> None:
    done: list[int] = []
    background = Background()
    for number in range(20):
        background.do(done.append, number)
    background.finish()
    assert done == list(range(20))


def test_no_more_waits_than_is_bounded() -> None:
    gate, begun = threading.Event(), threading.Event()
    background = Background()
    for _ in range(WAITING):
        background.do(gate.wait)

    def one_more() -> None:
        background.do(lambda: None)
        begun.set()

    thread = threading.Thread(target=one_more)
    thread.start()
    assert not begun.wait(0.1)
    gate.set()
    thread.join()
    background.finish()
    assert begun.is_set()


def test_an_error_is_raised_at_the_latest_at_the_end() -> None:
    def fail() -> None:
        raise OSError("disk")

    background = Background()
    background.do(fail)
    with pytest.raises(OSError, match="disk"):
        background.finish()
    background.abandon()


def test_what_is_abandoned_runs_no_more() -> None:
    gate = threading.Event()
    done: list[int] = []
    background = Background()
    background.do(gate.wait)
    background.do(done.append, 1)
    threading.Timer(0.1, gate.set).start()
    background.abandon()
    assert not any(thread.name.startswith("writing") for thread in threading.enumerate())
    assert done == []


def test_what_is_read_ahead_is_closed_though_a_traceback_keeps_it() -> None:
    closed = []

    def items() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.append(True)

    kept = items()
    with closing(read_ahead(kept)) as ahead:
        assert next(ahead) == 0
    assert closed == [True]
