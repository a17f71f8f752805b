"""Progress: lines by the clock, JSON for machines, bars on a terminal, nothing where nothing is wanted."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import time
from datetime import datetime

import pytest

from loader.cli.progress import Bars, Delivery, Lines, Silent, watch

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """LOADER_LOG is not set."""
    monkeypatch.delenv("LOADER_LOG", raising=False)


def test_who_watches(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    with watch("o") as lines, watch("o", quiet=True) as silent:
        assert type(lines) is Lines
        assert type(silent) is Silent
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with watch("o") as bars:
        assert type(bars) is Bars
    monkeypatch.setenv("LOADER_LOG", "json")
    with watch("o") as machine, watch("o", quiet=True) as silent:
        assert type(machine) is Lines
        assert type(silent) is Silent


@pytest.mark.parametrize(
    ("delivery", "words"),
    [
        (Delivery(100_000, 0.0, 0), "0 of 100,000 events sent, 0/s"),
        (Delivery(100_000, 0.0, 12_000), "12,000 of 100,000 events sent, 800/s, about 1 min 50 s left"),
        (
            Delivery(100_000, 0.0, 11_997, 2, 1, 1),
            "11,997 of 100,000 events sent, 800/s, 2 rejected, 1 in doubt, 1 retry, about 1 min 50 s left",
        ),
        (
            Delivery(100_000, 0.0, 12_000, retries=2, waits_until=20.0, because="HTTP 429: slow\ndown"),
            "12,000 of 100,000 events sent, 800/s, 2 retries, waits 5.0 s (HTTP 429: slow down)",
        ),
        (Delivery(12_000, 0.0, 12_000), "12,000 of 12,000 events sent, 800/s"),
    ],
)
def test_the_words_of_a_line(delivery: Delivery, words: str) -> None:
    assert delivery.words(15.0) == words


def test_lines_come_by_the_clock(capsys: Captured) -> None:
    with Lines("orders", interval=0.05) as lines:
        lines.say("going on")
        lines.planning(20_000, 3)
        time.sleep(0.2)
        lines.delivering("bloomreach", 100, "r1")
        lines.advance("bloomreach", sent=40, rejected=2)
        lines.retrying("bloomreach", 60, "HTTP 503: maintenance", 7)
        time.sleep(0.2)
        lines.advance("bloomreach", sent=58)
        time.sleep(0.2)
    written = capsys.readouterr().err.splitlines()
    assert written[0] == "orders: going on"
    assert "orders: 20,000 rows read, 3 rejected" in written
    sending = [line for line in written if line.startswith("orders: bloomreach 40 of 100 events sent, ")]
    assert 2 <= len(sending) <= 6
    assert sending[0].endswith("/s, 2 rejected, 1 retry, waits 1 min (HTTP 503: maintenance)")
    assert not any("98 of 100" in line for line in written)
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_machines_get_json(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADER_LOG", "json")
    with Lines("orders", machine=True, interval=30) as lines:
        lines.say("going on")
        lines.delivering("batch", 10, "r1")
        lines.advance("batch", sent=3, in_doubt=1)
        lines.retrying("batch", 5.0, "HTTP 429", 7)
        lines.report()
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["event"] for event in events] == ["message", "delivering", "retrying", "progress"]
    assert all(event["mapping"] == "orders" and event["time"].endswith("+00:00") for event in events)
    assert events[2]["seconds"] == 5.0
    assert [event.get("run") for event in events] == [None, "r1", "r1", "r1"]
    assert [event["level"] for event in events] == ["info", "info", "warning", "info"]
    assert events[2]["chunk"] == 7
    numbers = ("destination", "total", "sent", "rejected", "in_doubt", "retries")
    assert [events[3][key] for key in numbers] == ["batch", 10, 3, 0, 1, 1]


def test_text_has_times_and_levels(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADER_LOG", "text")
    with watch("orders") as lines:
        lines.delivering("batch", 10, "r1")
        lines.retrying("batch", 5.0, "HTTP 429", 7)
    first, second = (line.split(" ", 1) for line in capsys.readouterr().err.splitlines())
    assert datetime.fromisoformat(first[0]).tzinfo is not None
    assert first[1] == "info    orders: batch run r1 begins with 10 events"
    assert second[1] == "warning orders: batch chunk 7 waits 5.0 s (HTTP 429)"


def test_debug_shows_what_packages_log_until_the_command_ends(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("loader.sending.deliver")
    monkeypatch.setenv("LOADER_LOG", "debug")
    with watch("orders"):
        logger.debug("answer", extra={"fields": {"destination": "batch", "chunk": 7, "token": None}})
        logging.getLogger("httpx").warning("not ours")
    logger.debug("answer", extra={"fields": {}})
    written = capsys.readouterr().err
    assert "orders: answer: destination batch, chunk 7\n" in written
    assert written.count("answer") == 1


def test_silence(capsys: Captured) -> None:
    with Silent("orders") as silent:
        silent.say("going on")
        silent.planning(10, 0)
        before = silent.sending
        silent.delivering("batch", 10, "r1")
        silent.advance("batch", sent=3)
        silent.retrying("batch", 5.0, "HTTP 429", 7)
        assert (before, silent.sending) == (False, True)
    assert capsys.readouterr().err == ""


def test_a_closed_stderr_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    with Lines("orders", interval=0.01) as lines:
        lines.say("going on")
        lines.planning(10, 0)
        time.sleep(0.05)
        lines.report()


def test_bars(capsys: Captured) -> None:
    with Bars("orders") as bars:
        bars.planning(20_000, 3)
        time.sleep(0.15)
        bars.planning(40_000, 3)
        bars.delivering("bloomreach", 100, "r1")
        bars.delivering("batch", 12_345, "r1")
        bars.advance("batch", sent=50, rejected=1, in_doubt=2)
        bars.retrying("batch", 30.0, "HTTP 429", 7)
        bars.say("a line")
        # The next run of the same command begins anew.
        bars.delivering("batch", 0, "r1")
    written = capsys.readouterr().err
    assert "orders: reading 40,000 rows [" in written
    assert "orders: bloomreach   0%|" in written
    assert "| 53 of 12,345 events [" in written
    assert "/s, 1 retry, 1 rejected, 2 in doubt, waits 30 s]" in written
    assert "orders: a line\n" in written


def test_the_thread_of_the_lines_ends_with_them() -> None:
    before = threading.active_count()
    with Lines("orders"):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
