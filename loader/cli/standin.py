"""The sandbox as a child process, for as long as a command needs it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import loader
from loader.cli.output import warn
from loader.errors import UsageError
from loader.report.words import plural


class StandIn:
    """A sandbox that runs. `url`: where it listens."""

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url, self.process = url, process

    def settings(self) -> dict[str, dict[str, str]]:
        """Per provider the settings that lead there, as `mapping.read` takes them."""
        from loader.sandbox import CREDENTIALS

        return {provider: {**values, "base_url": self.url} for provider, values in CREDENTIALS.items()}

    def received(self, providers: Sequence[str]) -> str:
        """What it received, in words; of `providers` also where it is nothing."""
        # A proxy of the environment must not stand between the two.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/_sandbox/state", timeout=10) as answer:
            state: dict[str, Any] = json.load(answer)
        lines = [
            f"the stand-in received {plural(state['events'][name], 'event')} of {name} in {plural(requests, 'request')}"
            for name, requests in state["requests"].items()
            if requests or name in providers
        ]
        if state["duplicates"]:
            lines.append(f"the stand-in dropped {plural(state['duplicates'], 'event')} that it had already")
        lines += [f"the stand-in warns: {count:,} x {what}" for what, count in state["warnings"].items()]
        if state["faults"]:
            faults = ", ".join(f"{count:,} x {kind}" for kind, count in state["faults"].items())
            lines.append(f"the stand-in failed on purpose: {faults}")
        return "\n".join(lines)


@contextlib.contextmanager
def stand_in(*arguments: str) -> Iterator[StandIn]:
    """Start a sandbox with these arguments of `python -m loader.sandbox`; it ends with the block or this process.

    Raises UsageError where it cannot start.
    """
    source = str(Path(loader.__file__).parents[1])
    paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "loader.sandbox", "--parent-pid-watch", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # Ctrl-C is for this process, which finishes what is under way; the child must live until then.
            process_group=0,
        )
        try:
            ready = process.stdout.readline() if process.stdout else ""
            if not ready:
                process.wait()
                errors.seek(0)
                said = errors.read().strip().splitlines() or [f"exit {process.returncode}"]
                raise UsageError("the sandbox did not start: " + said[-1].removeprefix("python -m loader.sandbox: "))
            yield StandIn(json.loads(ready)["url"], process)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        errors.seek(0)
        for line in errors.read().splitlines():
            warn(f"sandbox: {line}")
