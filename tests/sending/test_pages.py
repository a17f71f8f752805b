"""Many chunks are given out a page at a time, each once, whatever becomes of them meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from loader import checkpoint as record
from tests.sending.support import NAME, RUN, staged


def test_pages_go_on_behind_what_was_given_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "PAGE", 3)
    kept = staged(tmp_path, [{"events": 4, "status": "sent" if number == 2 else "pending"} for number in range(8)])
    given = []
    for chunk in kept.pending_chunks(RUN, NAME, ["pending"]):
        given.append(chunk.start)
        # As halving does: the chunk is cut, and both halves are pending for a while.
        with kept.writing() as connection:
            here = record.chunks.c.start == chunk.start
            connection.execute(sa.update(record.chunks).where(here).values(events=2))
            half = {"run": RUN, "destination": NAME, "number": chunk.number, "status": "pending"}
            connection.execute(sa.insert(record.chunks).values(**half, start=chunk.start + 2, events=2))
    assert given == [0, 4, 12, 16, 20, 24, 28]


def test_parts_without_a_chunk_to_send_are_not_needed(tmp_path: Path) -> None:
    chunks = [{"events": 4, "part": part, "status": "sent" if part == 2 else "pending"} for part in (1, 2, 3)]
    kept = staged(tmp_path, chunks)
    assert kept.part_starts(RUN, NAME, ["pending"]) == {1: 0, 3: 8}
    assert kept.part_starts(RUN, NAME) == {1: 0, 2: 4, 3: 8}
