"""The power fails: what is on disk before what, and a load that goes on from what was left.

The long form: `python -m tests.attack power`.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.attack import books
from tests.attack.power import CONCURRENCY, STORIES, Outage, least_at, numbers, parts_of
from tests.support.sandbox import RunningSandbox

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None, reason="no C compiler: the disk cannot be logged, so nothing is proved about power loss"
)
ROWS = 240


@pytest.fixture
def outage(tmp_path: Path, stand_in: RunningSandbox) -> Outage:
    """A load whose disk is logged."""
    return Outage(tmp_path, stand_in, ROWS)


def test_the_intent_is_on_disk_before_the_request_and_the_receipt_before_it_is_counted(
    outage: Outage, tmp_path: Path
) -> None:
    assert outage.command("never", 0, "run", "--json") == 0
    outage.check_log()
    log = outage.log()
    leaving = [at for at, asked in enumerate(log) if numbers(asked)]
    assert len(leaving) == ROWS / 10
    for at, left in least_at(log, outage.disk, tmp_path / "left", leaving):
        found = books.read(left / "load")
        assert found is not None, "nothing is left of the checkpoint, and events were sent"
        assert all(parts_of(left / "load").values())
        under_way = [found.rows_of(chunk) for chunk in found.chunks if chunk["status"] == "sending"]
        assert numbers(log[at]) in under_way, "the request left before its intent was on disk"
        assert len(under_way) <= CONCURRENCY
    told = [at for at, asked in enumerate(log) if asked.what == "o"]
    assert told
    for _, left in least_at(log, outage.disk, tmp_path / "left", told):
        found = books.read(left / "load")
        assert found is not None
        assert found.sent_rows() == set(range(1, ROWS + 1)), "said to be sent, but the receipt was not on disk"


def test_the_parts_are_on_disk_before_the_plan_is(outage: Outage, tmp_path: Path) -> None:
    assert outage.command("never", 0, "plan") == 0
    log = outage.log()
    synced = [at + 1 for at, asked in enumerate(log) if asked.what in "fd"]
    planned = 0
    for _, left in least_at(log, outage.disk, tmp_path / "left", synced):
        if (left / "load" / "checkpoint.db").exists():
            found = books.read(left / "load")
            assert found is not None
            if found.runs:
                planned += 1
                parts = parts_of(left / "load")
                assert len(parts) == len({chunk["part"] for chunk in found.chunks}) == 4
                assert all(parts.values())
    assert planned


@pytest.mark.parametrize("story", STORIES)
def test_nothing_is_lost_or_doubled_wherever_the_power_fails(outage: Outage, story: str) -> None:
    log = outage.lived(STORIES[story])
    chance = random.Random(story)
    sent = [at for at, asked in enumerate(log) if asked.what == "s"]
    # Most of the log is the plan; what is sent is more telling.
    cuts = [*chance.choices(range(len(log) + 1), k=5), *(at + chance.randint(0, 1) for at in chance.choices(sent, k=5))]
    for number, cut in enumerate(cuts):
        outage.fail_at(log, cut, random.Random(cut) if number % 2 else None)
