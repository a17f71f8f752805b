"""Run the sandbox as a process of its own, for as long as a test needs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from tempfile import TemporaryFile
from typing import Any

import httpx


class RunningSandbox:
    """A sandbox that runs. In: its process, which has said where it listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        ready = process.stdout.readline()
        if not ready:
            raise RuntimeError(f"the sandbox did not start, exit {process.wait(5)}")
        self.url: str = json.loads(ready)["url"]
        self._admin = httpx.Client(base_url=f"{self.url}/_sandbox", trust_env=False, verify=False, timeout=30)

    def received(self, provider: str | None = None) -> list[dict[str, Any]]:
        """In: a provider, or None for all. Out: what it accepted, one object per event, duplicates included."""
        return self._lines("received", {"provider": provider} if provider else {})

    def received_exactly(self, provider: str) -> list[dict[str, Any]]:
        """As `received`, with fractions as Decimal: their digits as they were sent."""
        return self._lines("received", {"provider": provider}, parse_float=Decimal)

    def requests(self) -> list[dict[str, Any]]:
        """Out: one object per request."""
        return self._lines("requests", {})

    def state(self) -> dict[str, Any]:
        """Out: the counts; events do not count duplicates."""
        content: dict[str, Any] = self._admin.get("/state").raise_for_status().json()
        return content

    def faults(self, faults: list[dict[str, Any]]) -> None:
        """In: the faults that replace all others."""
        self._admin.post("/faults", json=faults).raise_for_status()

    def clock(self, now: str | None) -> None:
        """In: the time at which the sandbox's clock stands still, or None for the real time."""
        self._admin.post("/clock", json={"now": now}).raise_for_status()

    def advance(self, seconds: float) -> None:
        """In: by how much to move the sandbox's clock."""
        self._admin.post("/clock", json={"advance": seconds}).raise_for_status()

    def reset(self) -> None:
        """Forget events, requests and faults."""
        self._admin.post("/reset").raise_for_status()

    def renew(self) -> None:
        """Forget everything, a clock that was set, too: as if it had just been started."""
        self.reset()
        self.clock(None)

    def stop(self) -> int:
        """End the process, if it has not ended. Out: its exit code."""
        self._admin.close()
        self.process.terminate()
        try:
            return self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(5)
        finally:
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    stream.close()

    def _lines(self, path: str, params: dict[str, str], **reading: Any) -> list[dict[str, Any]]:
        response = self._admin.get(f"/{path}", params=params).raise_for_status()
        return [json.loads(line, **reading) for line in response.text.split("\n") if line]


@contextmanager
def sandbox(*args: str) -> Iterator[RunningSandbox]:
    """In: arguments of `python -m loader.sandbox`. Out: a running sandbox, ended with the block.

    A sandbox that had something to say on stderr fails the test.
    """
    command = [sys.executable, "-m", "loader.sandbox", "--parent-pid-watch", "--port", "0", *args]
    with TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        running = None
        try:
            running = RunningSandbox(process)
            yield running
        finally:
            if running is not None:
                running.stop()
            else:
                process.kill()
                process.communicate()
            errors.seek(0)
            said = errors.read()
        assert not said, f"the sandbox wrote to stderr:\n{said}"
