"""Chunks: never over a limit, never emptier than need be, always the same, whatever the frames."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.plan import Room, chunk_ends
from loader.providers.batch import Bulk
from loader.providers.bloomreach import Commands

BATCH, BLOOMREACH = Bulk.envelope, Commands.envelope

events = st.lists(st.tuples(st.integers(1, 60), st.sampled_from(['"a"', '"bb"', '"çcc"'])), max_size=60)


def spans(ends: list[int]) -> list[tuple[int, int]]:
    return list(pairwise([0, *ends]))


@given(events, st.integers(1, 9))
def test_only_a_limit_of_events(data: list[tuple[int, str]], most: int) -> None:
    ends = chunk_ends([size for size, _ in data], [], Room(most))
    assert [end - start for start, end in spans(ends)][:-1] == [most] * max(0, len(ends) - 1)
    assert (ends[-1] if ends else 0) == len(data)


@given(events, st.integers(1, 9), st.integers(80, 200))
def test_flat_bodies_keep_the_limit_of_bytes_and_are_full(data: list[tuple[int, str]], most: int, limit: int) -> None:
    room = Room(most, limit, len(BLOOMREACH))
    texts = ["x" * size for size, _ in data]
    ends = chunk_ends([len(text) for text in texts], [], room)
    assert (ends[-1] if ends else 0) == len(data)
    for start, end in spans(ends):
        assert end - start <= most
        assert len(BLOOMREACH.body([None] * (end - start), texts[start:end])) <= limit
        if end < len(data):
            one_more = len(BLOOMREACH.body([None] * (end + 1 - start), texts[start : end + 1]))
            assert end - start == most or one_more > limit


@given(events, st.integers(1, 9), st.integers(120, 300))
def test_grouped_bodies_pay_for_a_user_once(data: list[tuple[int, str]], most: int, limit: int) -> None:
    data = sorted(data, key=lambda event: event[1])
    room = Room(most, limit, len(BATCH), BATCH.user_bytes)
    texts, users = ["x" * size for size, _ in data], [user for _, user in data]
    ends = chunk_ends([len(text) for text in texts], users, room)
    assert (ends[-1] if ends else 0) == len(data)
    for start, end in spans(ends):
        assert end - start <= most
        assert len(BATCH.body(users[start:end], texts[start:end])) <= limit
        if end < len(data):
            one_more = len(BATCH.body(users[start : end + 1], texts[start : end + 1]))
            assert end - start == most or one_more > limit


@given(events, st.integers(1, 9), st.integers(1, 3), st.sampled_from([None, 150]))
def test_no_more_users_than_a_call_may_have(
    data: list[tuple[int, str]], most: int, users: int, limit: int | None
) -> None:
    room = Room(most, limit, len(BLOOMREACH), None, users)
    texts, names = ["x" * size for size, _ in data], [user for _, user in data]
    ends = chunk_ends([len(text) for text in texts], names, room)
    assert (ends[-1] if ends else 0) == len(data)
    for start, end in spans(ends):
        assert end - start <= most
        assert len(set(names[start:end])) <= users
        if end < len(data):
            too_long = (
                limit is not None and len(BLOOMREACH.body([None] * (end + 1 - start), texts[start : end + 1])) > limit
            )
            assert end - start == most or len(set(names[start : end + 1])) > users or too_long


@pytest.mark.parametrize(("most", "expected"), [(None, 1000), (5000, 1000), (10, 10)])
def test_the_mapping_can_only_lower_the_providers_limit(most: int | None, expected: int) -> None:
    assert Room.of(Bulk(), most).events == expected


def test_an_event_too_large_for_any_request_stands_alone() -> None:
    assert chunk_ends([500, 10, 10], [], Room(10, 100)) == [1, 3]
