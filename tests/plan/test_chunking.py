"""Chunks: never over a limit, never emptier than need be, always the same, whatever the frames."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.plan import Room, chunk_ends
from loader.providers.batch import Bulk
from loader.providers.bloomreach import Commands

BATCH, BLOOMREACH = Bulk(), Commands()

events = st.lists(st.tuples(st.integers(1, 60), st.sampled_from([b'"a"', b'"bb"', b'"ccc"'])), max_size=60)


def spans(ends: list[int]) -> list[tuple[int, int]]:
    return list(pairwise([0, *ends]))


@given(events, st.integers(1, 9))
def test_only_a_limit_of_events(data: list[tuple[int, bytes]], most: int) -> None:
    ends = chunk_ends([size for size, _ in data], [], Room(most))
    assert [end - start for start, end in spans(ends)][:-1] == [most] * max(0, len(ends) - 1)
    assert (ends[-1] if ends else 0) == len(data)


@given(events, st.integers(1, 9), st.integers(80, 200))
def test_flat_bodies_keep_the_limit_of_bytes_and_are_full(data: list[tuple[int, bytes]], most: int, limit: int) -> None:
    room = Room(most, limit, BLOOMREACH.envelope)
    texts = [b"x" * size for size, _ in data]
    ends = chunk_ends([len(text) for text in texts], [], room)
    assert (ends[-1] if ends else 0) == len(data)
    for start, end in spans(ends):
        assert end - start <= most
        assert len(BLOOMREACH.body([None] * (end - start), texts[start:end])) <= limit
        if end < len(data):
            one_more = len(BLOOMREACH.body([None] * (end + 1 - start), texts[start : end + 1]))
            assert end - start == most or one_more > limit


@given(events, st.integers(1, 9), st.integers(120, 300))
def test_grouped_bodies_pay_for_a_user_once(data: list[tuple[int, bytes]], most: int, limit: int) -> None:
    room = Room(most, limit, BATCH.envelope, BATCH.user_envelope)
    texts, users = [b"x" * size for size, _ in data], [user for _, user in data]
    ends = chunk_ends([len(text) for text in texts], users, room)
    assert (ends[-1] if ends else 0) == len(data)
    for start, end in spans(ends):
        assert end - start <= most
        assert len(BATCH.body(users[start:end], texts[start:end])) <= limit
        if end < len(data):
            one_more = len(BATCH.body(users[start : end + 1], texts[start : end + 1]))
            assert end - start == most or one_more > limit


@pytest.mark.parametrize(("most", "expected"), [(None, 1000), (5000, 1000), (10, 10)])
def test_the_mapping_can_only_lower_the_providers_limit(most: int | None, expected: int) -> None:
    assert Room.of(BATCH, most).events == expected


def test_an_event_too_large_for_any_request_stands_alone() -> None:
    assert chunk_ends([500, 10, 10], [], Room(10, 100)) == [1, 3]
