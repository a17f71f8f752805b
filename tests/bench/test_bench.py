"""The race in short: all send the same events, and the loader does not fall below half of what it has to reach."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.bench.race import make, racers, sink
from tests.bench.works import WORKS

BY_NAME = {work.name: work for work in WORKS}


def received(provider: str, bodies: bytes) -> dict[str, list[Any]]:
    """Each user's events, in the order in which they arrived."""
    found: dict[str, list[Any]] = defaultdict(list)
    for line in bodies.splitlines():
        body = json.loads(line)
        if provider == "batch":
            for user in body:
                found[user["id"]] += user["events"]
        elif provider == "bloomreach":
            for command in body["commands"]:
                found[command["data"]["customer_ids"]["registered"]].append(command)
        elif provider == "appizer":
            for event in body["events"]:
                found[event["user_id"]].append(event)
        else:
            found[body["profile_id"]].append(body)
    return found


@pytest.mark.parametrize("name", ["csv-batch", "csv-appizer", "csv-bloomreach", "csv-pushengage", "parquet-batch"])
def test_all_send_the_same_events(name: str, tmp_path: Path) -> None:
    work, rows = BY_NAME[name], 1_500
    csv, kept = tmp_path / "events.csv", tmp_path / "bodies"
    data = csv.with_suffix(f".{work.source}")
    make(str(data), rows)
    sent = {}
    peers = [peer for peer in ("script", "limit") if peer in work.peers]
    with sink("--keep", str(kept)) as to:
        at = 0
        for racer, runner in racers(work, str(data), to, tmp_path, peers).items():
            assert runner().events == rows
            bodies = kept.read_bytes()
            sent[racer], at = received(work.provider, bodies[at:]), len(bodies)
    if work.provider in ("appizer", "bloomreach"):
        # Chunks travel side by side where a provider does not act on their order.
        for racer, users in sent.items():
            sent[racer] = {user: sorted(events, key=json.dumps) for user, events in users.items()}
    assert all(users == sent["loader"] for users in sent.values())
