"""A chunk that was in doubt once: whatever becomes of it, that its events may have arrived is not forgotten."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from loader.checkpoint import Checkpoint
from loader.errors import Refused
from loader.plan import open_part
from loader.providers import PROVIDERS
from loader.providers.base import Answer, Request
from loader.sending.client import Client, NoAnswer
from loader.sending.deliver import Delivery, Target
from loader.sending.journal import Journal
from loader.sending.pacing import Pacer
from tests.sending.support import NAME, RUN, ids, staged

BATCH = PROVIDERS["batch"]
LONG_AGO = 1_600_000_000_000_000


class Scripted(Client):
    """Answers what it was told to, one thing after the other."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self._answers = list(answers)

    async def send(self, request: Request) -> Answer:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Nobody:
    def advance(self, destination: str, *, sent: int = 0, rejected: int = 0, in_doubt: int = 0) -> None: ...

    def retrying(self, destination: str, seconds: float, message: str, chunk: int) -> None: ...

    def found_rate(self, destination: str, rate: float) -> None: ...


def deliver(checkpoint: Checkpoint, client: Client, **settings: Any) -> None:
    async def all_of_it() -> None:
        keys = {"provider": "batch", "api_key": "key", "rest_api_key": "rest"}
        target = Target(RUN, NAME, BATCH, BATCH.routes[0], BATCH.settings(**keys, **settings), "resend")
        opening = partial(open_part, checkpoint.path.parent / "runs" / RUN, NAME)
        delivery = Delivery(target, Journal(checkpoint), client, opening, {1: 0}, Nobody(), lambda _: None)
        await delivery.deliver(checkpoint.pending_chunks(RUN, NAME, ["pending", "in_doubt"]), set())

    asyncio.run(all_of_it())


@pytest.mark.parametrize("doubted", [False, True])
def test_too_old_to_be_sent_again(tmp_path: Path, doubted: bool) -> None:
    chunk = {"events": 3, "status": "in_doubt" if doubted else "pending", "doubted": doubted}
    checkpoint = staged(tmp_path, [chunk], [LONG_AGO] * 3)
    deliver(checkpoint, Scripted())
    assert [row["reason"] for row in checkpoint.refusals_of(RUN)] == ["too_old"] * 3
    assert all(("may have arrived" in row["message"]) == doubted for row in checkpoint.refusals_of(RUN))
    assert ids(checkpoint) == (["id1", "id2", "id3"] if doubted else [])


def test_a_chunk_that_is_pending_again_after_a_doubt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pacer, "failed", lambda *_, **__: 0.0)
    checkpoint = staged(tmp_path, [{"events": 3, "status": "pending"}])
    client = Scripted(NoAnswer("no answer in time"), Answer(400, {}, b'{"code":31}'), Answer(401, {}, b'{"code":10}'))
    with pytest.raises(Refused):
        deliver(checkpoint, client, concurrency=1)
    halves = checkpoint.chunks_of(RUN)
    assert [(half["events"], half["status"], bool(half["doubted"])) for half in halves] == [
        (2, "pending", True),
        (1, "pending", True),
    ]
