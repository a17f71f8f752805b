"""A signal that arrives while a delivery is made ready."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from loader.checkpoint import Checkpoint
from loader.errors import Exit, Interrupted
from loader.plan import open_part
from loader.sending import run as sending
from loader.sending.deliver import Target
from loader.sending.journal import Journal
from tests.sending.support import NAME, RUN, staged
from tests.sending.test_doubts import BATCH, Nobody
from tests.support.wire import Wire


def test_it_ends_the_delivery_before_anything_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(checkpoint: Checkpoint) -> Journal:
        os.kill(os.getpid(), signal.SIGINT)
        return Journal(checkpoint)

    monkeypatch.setattr(sending, "Journal", interrupted)
    kept = staged(tmp_path, [{"events": 1, "status": "pending"} for _ in range(3)])
    with Wire(lambda _: (201, b'{"token": "token"}')) as wire:
        keys = {"provider": "batch", "api_key": "k", "rest_api_key": "r", "base_url": wire.url}
        target = Target(RUN, NAME, BATCH, BATCH.routes[0], BATCH.settings(**keys), "hold")
        opening = partial(open_part, tmp_path / "runs" / RUN)
        ended = sending.deliver_run(kept, [target], opening, Nobody(), lambda _: None)
        assert not wire.exchanges
    assert isinstance(ended, Interrupted)
    assert ended.exit_code == Exit.SIGINT
    assert [chunk["status"] for chunk in kept.chunks_of(RUN)] == ["pending"] * 3
