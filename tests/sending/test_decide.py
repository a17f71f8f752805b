"""What a person decides: everything adds up afterwards, and what may have arrived is not offered again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from loader.plan import open_part
from loader.plan.parts import part_path
from loader.report.totals import totals
from loader.sending import cancel, resend, skip
from tests.sending.support import NAME, RUN, ids, staged

CHUNKS = [
    {"events": 3, "status": "sent", "token": "t"},
    {"events": 2, "status": "pending"},
    {"events": 4, "status": "in_doubt", "doubted": True},
]


@pytest.mark.parametrize("harm", [None, "missing", "damaged"])
def test_what_is_pending_can_always_be_cancelled(tmp_path: Path, harm: str | None) -> None:
    checkpoint = staged(tmp_path, CHUNKS)
    part = part_path(tmp_path / "runs" / RUN, NAME, 1)
    if harm == "missing":
        part.unlink()
    if harm == "damaged":
        part.write_bytes(part.read_bytes()[:-1])
    opening = partial(open_part, tmp_path / "runs" / RUN)
    assert cancel(checkpoint, RUN, opening) == 2
    assert skip(checkpoint, RUN, None, opening) == 4
    now = totals(checkpoint, RUN)
    assert (now.destinations[0].events.rejected, now.pending, now.in_doubt) == (6, 0, 0)
    assert now.reasons == {(NAME, "cancelled"): 2, (NAME, "skipped"): 4}
    assert [row["row"] for row in checkpoint.refusals_of(RUN)] == ([] if harm else [4, 5, 6, 7, 8, 9])
    # Those of the cancelled events may be delivered later; those in doubt may have arrived.
    assert ids(checkpoint) == ["id1", "id2", "id3", "id6", "id7", "id8", "id9"]


def test_what_was_in_doubt_and_then_cancelled_may_have_arrived(tmp_path: Path) -> None:
    checkpoint = staged(tmp_path, CHUNKS)
    assert resend(checkpoint, RUN) == 4
    assert cancel(checkpoint, RUN, partial(open_part, tmp_path / "runs" / RUN)) == 6
    assert ids(checkpoint) == ["id1", "id2", "id3", "id6", "id7", "id8", "id9"]
    words = {row["row"]: row["message"] for row in checkpoint.refusals_of(RUN)}
    assert "may have arrived" not in words[4]
    assert "may have arrived" in words[6]
