"""What is written while events are sent."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from loader.checkpoint import Checkpoint
from loader.sending.journal import Journal, set_chunk
from tests.sending.support import NAME, RUN, staged


def test_a_change_that_cannot_be_written_is_an_error_and_not_a_wait_for_ever(tmp_path: Path) -> None:
    async def write() -> None:
        journal = Journal(Checkpoint.open(tmp_path, "load"))
        half = "half a character: \ud800"
        await asyncio.wait_for(journal.write([set_chunk("run", "batch", 0, "sent", attempts=1, message=half)]), 10)

    with pytest.raises(orjson.JSONEncodeError):
        asyncio.run(write())


def test_closing_writes_what_waits_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    checkpoint = staged(tmp_path, [{"events": 1, "status": "pending"} for _ in range(3)])
    troubles: list[object] = []

    async def write() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
        journal = Journal(checkpoint)
        changes = [set_chunk(RUN, NAME, start, "sent", attempts=1) for start in range(3)]
        tasks = []
        for change in changes:
            tasks.append(asyncio.ensure_future(journal.write([change])))
            # The first is under way when the others come.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        journal.close()
        await asyncio.gather(*tasks)
        await asyncio.sleep(0.05)

    asyncio.run(write())
    assert troubles == []
    assert [chunk["status"] for chunk in checkpoint.chunks_of(RUN)] == ["sent"] * 3


def test_what_is_written_at_one_moment_shares_a_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = staged(tmp_path, [{"events": 1, "status": "pending"} for _ in range(3)])
    sizes: list[int] = []
    commit = Journal._commit

    def counted(journal: Journal, entries: list[Any]) -> Exception | None:
        sizes.append(len(entries))
        return commit(journal, entries)

    async def write() -> None:
        journal = Journal(checkpoint)
        changes = [set_chunk(RUN, NAME, start, "sent", attempts=1) for start in range(3)]
        await asyncio.gather(*(journal.write([change]) for change in changes))
        journal.close()

    monkeypatch.setattr(Journal, "_commit", counted)
    asyncio.run(write())
    assert sizes == [3]


def test_a_journal_that_is_closed_at_once_writes_all(tmp_path: Path) -> None:
    checkpoint = staged(tmp_path, [{"events": 1, "status": "pending"}])
    troubles: list[object] = []

    async def write() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
        journal = Journal(checkpoint)
        task = asyncio.ensure_future(journal.write([set_chunk(RUN, NAME, 0, "sent", attempts=1)]))
        await asyncio.sleep(0)
        journal.close()
        await task
        await asyncio.sleep(0.01)

    asyncio.run(write())
    assert troubles == []
    assert [chunk["status"] for chunk in checkpoint.chunks_of(RUN)] == ["sent"]


def test_a_process_ends_where_nobody_came_to_close_the_journal(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from loader.checkpoint import Checkpoint
from loader.sending.journal import Journal

async def leave() -> None:
    await Journal(Checkpoint.open(Path(sys.argv[1]), "load")).write([])
    sys.exit(143)

asyncio.run(leave())
"""
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=30, check=False)
    assert ended.returncode == 143


@pytest.mark.parametrize("text", ["a\0b", "\0", "\\u0000", "\U0001f600", '"\\', "\x01\x7f\u2028\ufeff\uffff"])
def test_a_text_is_kept_as_it_was_said(tmp_path: Path, text: str) -> None:
    checkpoint = staged(tmp_path, [{"events": 1, "status": "pending"} for _ in range(2)])

    async def write() -> None:
        journal = Journal(checkpoint)
        first = journal.write([set_chunk(RUN, NAME, 0, "in_doubt", attempts=1, message=text, doubted=True)])
        await asyncio.gather(first, journal.write([set_chunk(RUN, NAME, 1, "sent", attempts=1, token=text)]))
        await journal.write([set_chunk(RUN, NAME, 0, "sent", attempts=2, message=text)])
        journal.close()

    asyncio.run(write())
    said = [
        (chunk["status"], chunk["doubted"], chunk["message"], chunk["token"]) for chunk in checkpoint.chunks_of(RUN)
    ]
    assert said == [("sent", True, text, None), ("sent", False, None, text)]
