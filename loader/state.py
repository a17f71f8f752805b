"""The state folder of one mapping, and the lock that lets one process at a time change it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from loader.durable import make_folder
from loader.errors import StateError, StateHeld


def state_folder(mapping: Path, chosen: Path | None) -> Path:
    """`.loader/<mapping name>/` beside the mapping file, or in the folder that `--state` or LOADER_STATE names."""
    base = chosen or (
        Path(os.environ["LOADER_STATE"]) if os.environ.get("LOADER_STATE") else mapping.parent / ".loader"
    )
    folder = base.absolute() / mapping.stem
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        shown = str(folder).encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise StateError(f"{shown}: the name is not UTF-8; rename the mapping, or choose another --state") from None
    return folder


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[Path]:
    """Create `folder` and hold it; what is written meanwhile is readable by its owner alone.

    Raises StateHeld, naming the holder, or StateError.
    """
    umask = os.umask(0o077)
    try:
        with _held(folder):
            yield folder
    finally:
        os.umask(umask)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    try:
        make_folder(folder / "runs")
    except OSError as error:
        raise StateError(
            f"the state folder {folder} cannot be made: {error.strerror}. Choose another with --state or LOADER_STATE"
        ) from None
    # The kernel gives the lock back when the process ends, however it ends; the note beside it only says who it was.
    lock, note = FileLock(folder / "lock"), folder / "holder.json"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StateHeld(f"{_who(note)} holds the state in {folder}; wait until it ends") from None
    except OSError as error:
        raise StateError(f"the state folder {folder} cannot be written: {error.strerror}") from None
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            note.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}))
        except OSError as error:
            raise StateError(f"the state folder {folder} cannot be written: {error.strerror}") from None
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _who(note: Path) -> str:
    try:
        holder = json.loads(note.read_text())
        return f"process {holder['pid']} on {holder['host']} (since {holder['since']})"
    except (OSError, ValueError, KeyError):
        return "another process"


def holder(folder: Path) -> str | None:
    """Who holds `folder` now, in words, or None. Does not take the lock, so that nobody finds it held by a reader."""
    note = folder / "holder.json"
    try:
        found = json.loads(note.read_text())
        if found["host"] == socket.gethostname():
            os.kill(found["pid"], 0)
    except PermissionError:
        return _who(note)
    except (OSError, ValueError, KeyError, TypeError):
        # A process that was killed leaves its note behind.
        return None
    return _who(note)


_NAMED = "%Y%m%dT%H%M%S.%f"


def new_run(newest: str | None) -> str:
    """The name of a run. Names sort by time: it comes after `newest` although the clock was set back, and two may begin
    in one second."""
    now = datetime.now(UTC)
    if newest is not None:
        before = datetime.strptime(newest.partition("-")[0], _NAMED).replace(tzinfo=UTC)
        now = max(now, before + timedelta(milliseconds=1))
    return f"{now:{_NAMED}}"[:19] + f"-{secrets.token_hex(3)}"


def run_folder(folder: Path, run: str) -> Path:
    """Where a run keeps its plan."""
    return folder / "runs" / run


def discard_others(folder: Path, keep: set[str]) -> list[str]:
    """Remove the plans that were cut short: folders of runs that are not in `keep`. Their names."""
    gone = [path for path in sorted((folder / "runs").iterdir()) if path.is_dir() and path.name not in keep]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in gone]
