"""Which of a source's files are new: a file is known by its content, for each destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.engine import RowMapping

from loader.checkpoint import Checkpoint
from loader.errors import SourceError
from loader.sources.base import Input

_MOST_KNOWN = 3


@dataclass(frozen=True)
class New:
    """`inputs`: files to read. `to_open`: those that tell the columns: also local ones that were loaded before, while
    remote ones are not brought here again. `delivered`: per path, the destinations that got its content before.
    `notes`: one line for each file that is left out, or has changed since it was loaded, for a person."""

    inputs: list[Input]
    to_open: list[Input]
    delivered: dict[str, set[str]]
    notes: list[str]

    def delivered_of(self, item: Input | None) -> set[str]:
        """The destinations that got the content of this file before."""
        return set() if item is None else self.delivered.get(item.path, set())


def new_files(
    inputs: Sequence[Input],
    checkpoint: Checkpoint,
    destinations: Sequence[str],
    *,
    again: bool,
    told_by: str | None,
    settle: float = 0.0,
) -> New:
    """Sort out the files that every destination has had (`again`: none), those whose content is there twice, and those
    that were written less than `settle` seconds ago.

    `told_by`: what tells new rows from old ones, in words, so that a file whose content changed may be read anew.
    Raises SourceError where nothing does, and where only destinations that the mapping no longer has got a file: they
    may be the same under another name.
    """
    now = datetime.now(UTC).timestamp()
    if len(inputs) == 1 and not inputs[0].remote and (again or not checkpoint.knows_files()):
        if waits := _waits(inputs[0], now, settle):
            return New([], [], {}, [waits])
        # There is nothing to compare its content with, so that it can be read for its digest while it is loaded.
        return New(list(inputs), list(inputs), {inputs[0].path: set()}, [])
    new = New([], [], {}, [])
    taken: dict[str, str] = {}
    waiting: set[str] = set()
    known: list[str] = []
    for item in inputs:
        before = [] if again else checkpoint.files_by("path", item.path)
        same = [f for f in before if (f["size"], f["mtime_ns"], f["inode"]) == (item.size, item.mtime_ns, item.inode)]
        if not same and (waits := _waits(item, now, settle)):
            new.notes.append(waits)
            waiting.add(item.path)
            continue
        # An untouched file is not read again to prove that it is the same.
        digest = same[0]["digest"] if same else item.digest()
        loaded = {} if again else {f["destination"]: f for f in checkpoint.files_by("digest", digest)}
        had = set(loaded) & set(destinations)
        if had == set(destinations):
            newest = max(loaded.values(), key=lambda f: str(f["run"]))
            if newest["path"] == item.path:
                known.append(f"{item.path} was loaded by run {newest['run']}")
            else:
                new.notes.append(f"{item.path} was loaded as {newest['path']} by run {newest['run']}")
            continue
        if digest in taken:
            new.notes.append(f"{item.path} has the content of {taken[digest]} and is left out")
            continue
        _refuse_unclear(item, before, loaded, destinations, had=bool(had), safe=told_by is not None)
        if before and not had:
            new.notes.append(f"{_changed(item, before)}; it is read again, and {told_by}")
        taken[digest] = item.path
        new.inputs.append(item)
        new.delivered[item.path] = had
    # Of the files of a year of nights, the last one will do.
    if len(known) > _MOST_KNOWN:
        known[:-1] = [f"{len(known) - 1:,} files were loaded before"]
    new.notes[:0] = known
    told = (item for item in inputs if item.path not in waiting)
    new.to_open.extend(item for item in told if item.path in new.delivered or not item.remote)
    return new


def _waits(item: Input, now: float, settle: float) -> str | None:
    """Why a file is left to a later run, or None. A time that is yet to come is that of another clock."""
    age = now - item.mtime_ns / 1e9
    if abs(age) >= settle:
        return None
    return f"{item.path} was written {max(age, 0):.0f} s ago; it waits for a later run (settle: {settle:g}s)"


def _changed(item: Input, before: Sequence[RowMapping]) -> str:
    return f"{item.path} was loaded by run {before[-1]['run']} and has changed since"


def _refuse_unclear(
    item: Input,
    before: Sequence[RowMapping],
    loaded: Mapping[str, RowMapping],
    destinations: Sequence[str],
    *,
    had: bool,
    safe: bool,
) -> None:
    """Raise SourceError where loading a file could double its events. `before`: what was loaded from its path."""
    gone = sorted({f["destination"] for f in [*before, *loaded.values()]})
    if gone and not set(gone) & set(destinations):
        listed = ", ".join(f"'{name}'" for name in gone)
        raise SourceError(
            f"{item.path} was loaded for {listed}, which the mapping no longer has; a destination is known by its "
            "name. If it is the same one, give it that `name` again. To send the whole file to those of "
            "now, use --again"
        )
    if before and not had and not safe:
        raise SourceError(
            f"{_changed(item, before)}; nothing tells its new rows from the old ones. To load all of it, give it "
            "another name, or run with --again, which takes every file; to leave the change out, move the file away. "
            "For the nights to come, give each event an `id` (a customer has none), or the source a `cursor`"
        )
