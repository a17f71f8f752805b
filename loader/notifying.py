"""A notice to a webhook when `loader run` ends in another way than it did before: somebody is woken once, not every
night.

    LOADER_NOTIFY_URL      the webhook: a secret, never stored or shown
    LOADER_NOTIFY_FORMAT   json, or slack (the default where the host is hooks.slack.com)
    LOADER_NOTIFY_AGAIN    if it is set: also every time that the same failure comes again

What was told last lies in `notified.json` in the state folder, and not in the checkpoint: a notice must go out, too,
where the mapping cannot be read, or the checkpoint cannot be opened or is held. It is written when a notice was taken,
so that one that was not is tried again with the next run.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loader.durable import make_folder
from loader.errors import Exit
from loader.report.ending import Ending
from loader.report.words import one_line, plural
from loader.sending import post
from loader.state import state_folder

# The outcome for machines, and for people.
_WORDS = {
    Exit.DONE: ("ok", "all is well again"),
    Exit.BUG: ("failed", "failed with a bug"),
    Exit.WRONG: ("failed", "failed: the mapping, the source or the state is wrong; nothing was sent"),
    Exit.REJECTED: ("rejected", "finished, with rejections"),
    Exit.TOO_MANY_REJECTED: ("failed", "stopped: too many rejections"),
    Exit.UNREACHABLE: ("failed", "stopped half-way; the next run goes on"),
    Exit.REFUSED: ("failed", "stopped: the provider refused the credentials or the route"),
    Exit.IN_DOUBT: ("in_doubt", "finished, with chunks in doubt"),
    Exit.HELD: ("failed", "did not begin: another process holds the state"),
    Exit.SIGTERM: ("failed", "was terminated; the next run goes on"),
}


def listener(env: Mapping[str, str]) -> str | None:
    """The host that is told; '' where the address is none, None where nobody is to be told."""
    url = env.get("LOADER_NOTIFY_URL")
    return (_host(url) or "") if url else None


def notify(ending: Ending, env: Mapping[str, str]) -> str | None:
    """Tell the webhook of `env`, if there is one and the outcome is another than the one that was told last.

    Out: a warning for a person where it could not be told; it changes nothing else.
    """
    url = env.get("LOADER_NOTIFY_URL")
    if not url or ending.exit_code not in _WORDS:
        return None
    host = _host(url)
    if host is None:
        return "LOADER_NOTIFY_URL is no http(s) address; nobody is told how the load ended"
    folder = state_folder(ending.mapping.absolute(), ending.state)
    before = _told(folder)
    again = bool(env.get("LOADER_NOTIFY_AGAIN")) and ending.exit_code is not Exit.DONE
    if ending.told_apart == before and not again:
        return None
    slack = env.get("LOADER_NOTIFY_FORMAT", "slack" if host == "hooks.slack.com" else "json").lower() == "slack"
    notice = {"text": _text(ending)} if slack else _as_json(ending, before[0])
    failed = post(url, json.dumps(notice, ensure_ascii=False).encode("utf-8", "backslashreplace"))
    if failed is not None:
        return f"the notice to {host} was not taken ({failed}); the next run tries again"
    try:
        _remember(folder, ending)
    except OSError as error:
        return f"the notice was taken, but {folder} cannot be written ({error.strerror}): it comes again"
    return None


def _host(url: str) -> str | None:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname:
            return parts.hostname
    return None


def _told(folder: Path) -> tuple[int, str]:
    """What was told last; at first, that all is well."""
    try:
        found = json.loads((folder / "notified.json").read_text(encoding="utf-8"))
        return int(found["exit"]), str(found["cause"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""


def _remember(folder: Path, ending: Ending) -> None:
    umask = os.umask(0o077)
    try:
        make_folder(folder)
        unfinished = folder / f"notified.{os.getpid()}.unfinished"
        code, cause = ending.told_apart
        unfinished.write_text(json.dumps({"exit": code, "cause": cause, "told": _now()}), encoding="utf-8")
        unfinished.replace(folder / "notified.json")
    finally:
        os.umask(umask)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _as_json(ending: Ending, before: int) -> dict[str, Any]:
    return {
        "mapping": ending.mapping.stem,
        "host": socket.gethostname(),
        "time": _now(),
        "outcome": _WORDS[ending.exit_code][0],
        "exit": int(ending.exit_code),
        "exit_before": before,
        "message": ending.message,
        "run": None if ending.run is None else ending.run.as_json(),
        "next": ending.following,
    }


def _text(ending: Ending) -> str:
    """The notice for people. Slack takes three characters for its own."""
    lines = [f"*{ending.mapping.stem}* on {socket.gethostname()}: {_WORDS[ending.exit_code][1]}"]
    lines[0] += f" (exit {int(ending.exit_code)})" if ending.exit_code is not Exit.DONE else ""
    if ending.message is not None:
        lines += [one_line(line, 300) for line in ending.message.splitlines()[:5]]
    run = ending.run
    if run is not None and run.run is not None:
        lines.append(f"run {run.run}: {plural(run.rows.read, 'row')} read, {run.rows.rejected:,} rejected")
        for d in run.destinations:
            counts = {"sent": d.events.sent, "already delivered": d.events.already_delivered}
            counts |= {"rejected": d.events.rejected, "in doubt": d.events.in_doubt, "pending": d.events.pending}
            listed = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
            lines.append(f"{d.name}: {plural(d.events.total, 'event')}" + (f", {listed}" if listed else ""))
    if ending.following is not None:
        lines.append(f"```{ending.following}```")
    return "\n".join(lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
