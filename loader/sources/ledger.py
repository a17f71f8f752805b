"""Which of a source's files are new: a file is known by its content, for each destination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loader.checkpoint import Checkpoint
from loader.errors import SourceError
from loader.sources.base import Input


@dataclass(frozen=True)
class New:
    """`inputs`: files to read. `delivered`: per path, the destinations that got its content before.
    `known`: one line for each file that is left out, for a person."""

    inputs: list[Input]
    delivered: dict[str, set[str]]
    known: list[str]

    def delivered_of(self, item: Input | None) -> set[str]:
        """The destinations that got the content of this file before."""
        return set() if item is None else self.delivered.get(item.path, set())


def new_files(
    inputs: Sequence[Input], checkpoint: Checkpoint, destinations: Sequence[str], *, again: bool, safe: bool
) -> New:
    """Sort out the files that every destination has had. `again`: take all.

    `safe`: the mapping tells new rows from old ones (by `event.id` or a cursor), so that a file whose content
    changed may be read anew. Raises SourceError where it is not.
    """
    new = New([], {}, [])
    for item in inputs:
        if again:
            new.inputs.append(item)
            continue
        before = checkpoint.files_by("path", item.path)
        same = [f for f in before if (f["size"], f["mtime_ns"], f["inode"]) == (item.size, item.mtime_ns, item.inode)]
        # An untouched file is not read again to prove that it is the same.
        digest = same[0]["digest"] if same else item.digest()
        loaded = {f["destination"]: f for f in checkpoint.files_by("digest", digest)}
        had = set(loaded) & set(destinations)
        if had == set(destinations):
            first = next(iter(loaded.values()))
            name = "" if first["path"] == item.path else f" as {first['path']}"
            new.known.append(f"{item.path} was loaded{name} by run {first['run']}")
            continue
        if before and not had and not safe:
            raise SourceError(
                f"{item.path} was loaded by run {before[0]['run']} and has changed since; nothing tells its new rows "
                "from the old ones. Give each event an `id`, or the source a `cursor`, or send the whole file with "
                "--again"
            )
        new.inputs.append(item)
        new.delivered[item.path] = had
    return new
