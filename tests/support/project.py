"""A project of a user in a temporary folder: a mapping, its data, and the `loader` command run on them as a process."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from loader.sandbox import CREDENTIALS

# The same code as the tests import, wherever a command is run.
ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith("LOADER_")},
    "PYTHONPATH": str(ROOT),
}


@dataclass(frozen=True)
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object that it printed."""
        assert "Traceback" not in self.err, self.err
        value: dict[str, Any] = json.loads(self.out)
        return value

    def destination(self, name: str | None = None) -> dict[str, int]:
        """The events of a destination, the first by default."""
        found = self.json["destinations"]
        events: dict[str, int] = next(d for d in found if name in (None, d["name"]))["events"]
        return events


def credentials(provider: str, url: str) -> dict[str, Any]:
    """A destination that sends to the sandbox at `url`."""
    keys = {key: value for key, value in CREDENTIALS[provider].items() if not key.endswith("_2") and key != "api_token"}
    return {"provider": provider, "base_url": url, **keys}


class Project:
    """Writes files into `folder` and runs `loader` there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mapping_path = folder / "load.yaml"

    def csv(self, rows: Sequence[Sequence[object]], name: str = "events.csv") -> Path:
        """A CSV file; the first row names the columns."""
        path = self.folder / name
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        return path

    def mapping(self, document: dict[str, Any]) -> Path:
        """The mapping file."""
        with self.mapping_path.open("w", encoding="utf-8") as file:
            YAML(typ="safe").dump(document, file)
        return self.mapping_path

    def start(
        self, *arguments: str, env: dict[str, str] | None = None, module: str = "loader"
    ) -> subprocess.Popen[str]:
        """`loader`, or another module, with these arguments, running."""
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env={**ENVIRONMENT, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def loader(self, *arguments: str, env: dict[str, str] | None = None, timeout: float = 120) -> Ended:
        """`loader` with these arguments, until it ends; a traceback fails the test."""
        with self.start(*arguments, env=env) as process:
            out, err = process.communicate(timeout=timeout)
        assert "Traceback" not in err, err
        return Ended(process.returncode, out, err)

    def run(self, *arguments: str, env: dict[str, str] | None = None) -> Ended:
        """`loader run` of the mapping, as JSON."""
        return self.loader("run", str(self.mapping_path), "--json", *arguments, env=env)

    def killed_run(
        self, when: Callable[[], bool], how: signal.Signals = signal.SIGKILL, env: dict[str, str] | None = None
    ) -> int:
        """`loader run`, sent a signal as soon as `when` says so, or left to end. Its exit code."""
        with self.start("run", str(self.mapping_path), "--json", env=env) as process:
            deadline = time.monotonic() + 60
            while process.poll() is None and not when():
                assert time.monotonic() < deadline
                time.sleep(0.002)
            process.send_signal(how)
            process.communicate(timeout=60)
        return process.returncode


def numbered(count: int, users: int = 7, first: int = 1) -> list[list[object]]:
    """Rows for `simple_mapping`: number, from `first` on, user and a moment."""
    rows: list[list[object]] = [["number", "user", "at"]]
    for number in range(first, first + count):
        rows.append([number, f"{number % users:05d}", f"2026-03-01T10:{number // 60 % 60:02d}:{number % 60:02d}Z"])
    return rows


def simple_mapping(*destinations: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A mapping of `numbered` rows to destinations. Batch gets no times, so that old rows pass."""
    return {
        "source": {"type": "csv", "path": "events.csv"},
        "event": {
            "user": "user",
            "name": {"const": "purchase"},
            "time": "at",
            "properties": {"number": {"expr": "number", "as": "integer"}},
        },
        "destinations": [
            {"late_events": "omit_time", **d} if d["provider"] == "batch" else dict(d) for d in destinations
        ],
        **more,
    }


def arrived(received: list[dict[str, Any]]) -> list[int]:
    """The numbers of the events that the sandbox took, in the order of arrival; duplicates that it removed left out."""
    numbers = []
    fields = {"appizer": "properties", "batch": "attributes", "pushengage": "data"}
    for event in received:
        if event["provider"] != "bloomreach":
            numbers.append(event["event"][fields[event["provider"]]]["number"])
        elif not event["duplicate"]:
            numbers.append(event["command"]["data"]["properties"]["number"])
    return numbers
