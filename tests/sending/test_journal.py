"""What is written while events are sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from loader.checkpoint import Checkpoint
from loader.sending.journal import Journal, set_chunk


def test_a_change_that_cannot_be_written_is_an_error_and_not_a_wait_for_ever(tmp_path: Path) -> None:
    async def write() -> None:
        journal = Journal(Checkpoint.open(tmp_path, "load"))
        half = "half a character: \ud800"
        await asyncio.wait_for(
            journal.write([set_chunk("run", "batch", 0, "sent", attempts=1, changed="now", message=half)]), 10
        )

    with pytest.raises(UnicodeEncodeError):
        asyncio.run(write())
