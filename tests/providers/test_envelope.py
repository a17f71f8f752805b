"""Bodies that are made of all chunks of a part at once."""

from __future__ import annotations

from itertools import groupby

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.providers import PROVIDERS
from loader.providers.envelope import Envelope

texts = st.text(st.characters(codec="utf-8"), max_size=4)
Event = tuple[int, str, str]  # of a chunk, a user and a text


def expected(envelope: Envelope, events: list[Event]) -> list[tuple[int, bytes]]:
    """Chunk by chunk and user by user, in Python."""
    bodies = []
    for chunk, of_chunk in groupby(events, key=lambda event: event[0]):
        if envelope.user is None:
            inside = ",".join(text for *_, text in of_chunk)
        else:
            opening, middle, closing = envelope.user
            by_user = [
                (user, [text for *_, text in some]) for user, some in groupby(of_chunk, key=lambda event: event[1])
            ]
            inside = ",".join(f"{opening}{user}{middle}{','.join(some)}{closing}" for user, some in by_user)
        bodies.append((chunk, f"{envelope.before}{inside}{envelope.after}".encode()))
    return bodies


@pytest.mark.parametrize("envelope", [Envelope(), *(r.envelope for p in PROVIDERS.values() for r in p.routes)])
@given(events=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["", '"a"', '"b"', "é"]), texts), max_size=12))
def test_bodies_are_those_made_chunk_by_chunk(envelope: Envelope, events: list[Event]) -> None:
    events.sort(key=lambda event: event[0])
    schema = {"chunk": pl.UInt32, "user": pl.String, "event": pl.String}
    frame = pl.DataFrame(events, schema=schema, orient="row")
    wanted = expected(envelope, events)
    assert envelope.bodies(frame).rows() == wanted
    assert envelope.bodies(frame.with_columns(pl.col("chunk").set_sorted())).rows() == wanted
