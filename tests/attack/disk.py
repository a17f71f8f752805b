"""The disk as it would be after the power failed: rebuilt from a log of what processes asked of it (`disk.c`).

A write survives for certain once its file is synced, and a name (of a new, renamed or removed file or folder) once its
folder is synced, as POSIX has it and no more. What was not synced is lost, or any part of it is.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

SECTOR = 512
_HEAD = struct.Struct("<8s5Q")


@dataclass(frozen=True)
class Asked:
    """One record. `what`: c create, w write, t truncate, F and f a file's sync begins and has ended, D and d a
    folder's, m make a folder, r rename, l link, u remove, s send, o print. `data`: bytes, or the second path."""

    what: str
    thread: int
    inode: int
    offset: int
    path: str
    data: bytes


def compiled(folder: Path) -> dict[str, str]:
    """Compile the shim into `folder`; the environment that preloads it and logs what happens under `folder`/disk."""
    shim = folder / "disk.so"
    source = Path(__file__).with_name("disk.c")
    subprocess.run(["cc", "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(shim), "DISK_ROOT": str(folder / "disk"), "DISK_LOG": str(folder / "log")}


def read_log(path: Path) -> Iterator[Asked]:
    """The records of a log, in the order in which they were asked."""
    content = path.read_bytes()
    at = 0
    while at < len(content):
        what, thread, inode, offset, path_length, data_length = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        name, at = content[at : at + path_length].decode(), at + path_length
        data, at = content[at : at + data_length], at + data_length
        yield Asked(what[:1].decode(), thread, inode, offset, name, data)


@dataclass
class File:
    """A file: what it holds, what of that is synced, and the changes since. `done`: how many changes are synced."""

    now: bytearray = field(default_factory=bytearray)
    synced: bytearray = field(default_factory=bytearray)
    since: list[tuple[int | None, bytes | int]] = field(default_factory=list)
    done: int = 0

    def change(self, offset: int | None, data: bytes | int) -> None:
        """Write `data` at `offset`, or, without one, cut or lengthen to `data` bytes."""
        self.since.append((offset, data))
        _apply(self.now, offset, data)

    def sync(self, until: int) -> None:
        """The first `until` of all changes are on disk."""
        while self.done < until:
            _apply(self.synced, *self.since.pop(0))
            self.done += 1

    def torn(self, chance: random.Random) -> bytes:
        """What may be left: of the changes that are not synced some, and of those some sectors."""
        left = bytearray(self.synced)
        for offset, data in self.since:
            if chance.random() < 0.5:
                continue
            if isinstance(data, int) or offset is None:
                _apply(left, offset, data)
                continue
            for start in range(0, len(data), SECTOR):
                if chance.random() < 0.8:
                    _apply(left, offset + start, data[start : start + SECTOR])
        return bytes(left)


def _apply(content: bytearray, offset: int | None, data: bytes | int) -> None:
    if isinstance(data, int):
        del content[data:]
        content.extend(bytes(data - len(content)))
    elif offset is not None:
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


Names = dict[str, "File | Folder"]


@dataclass
class Folder:
    """A folder: its names now, those that are synced, and the changes since. `done`: how many changes are synced."""

    now: Names = field(default_factory=dict)
    synced: Names = field(default_factory=dict)
    since: list[dict[str, File | Folder | None]] = field(default_factory=list)
    done: int = 0

    def change(self, names: dict[str, File | Folder | None]) -> None:
        """Give names to files, or take them away (None); all of this or nothing survives."""
        self.since.append(names)
        _rename(self.now, names)

    def sync(self, until: int) -> None:
        """The first `until` of all changes are on disk."""
        while self.done < until:
            _rename(self.synced, self.since.pop(0))
            self.done += 1

    def torn(self, chance: random.Random) -> Names:
        """Names that may be left: some of the changes that are not synced are on disk all the same."""
        left = dict(self.synced)
        for names in self.since:
            if chance.random() < 0.5:
                _rename(left, names)
        return left


def _rename(names: Names, changes: Mapping[str, File | Folder | None]) -> None:
    for name, what in changes.items():
        if what is None:
            names.pop(name, None)
        else:
            names[name] = what


class Disk:
    """The folder `root`, empty at first, as the records leave it that it is told of.

    What is a second name of a file outside (`link`) is left out, and so is what is written through a mapping."""

    def __init__(self, root: Path) -> None:
        self._root, self._top = root, Folder()
        self._files: dict[int, File] = {}
        self._syncs: dict[tuple[int, str], int] = {}

    def told(self, asked: Asked) -> None:
        """The next record of the log."""
        if asked.what in "wt":
            file = self._files[asked.inode]
            file.change(*((asked.offset, asked.data) if asked.what == "w" else (None, asked.offset)))
        elif asked.what in "FfDd":
            where = self._files[asked.inode] if asked.what in "Ff" else self._folder(asked.path)
            key = asked.thread, asked.path
            if asked.what in "FD":
                self._syncs[key] = where.done + len(where.since)
            else:
                where.sync(self._syncs.pop(key))
        elif asked.what in "cmru":
            self._name(asked)

    def _name(self, asked: Asked) -> None:
        folder, name = self._split(asked.path)
        if asked.what == "c":
            file = self._files[asked.inode] = File()
            folder.change({name: file})
        elif asked.what == "m":
            folder.change({name: Folder()})
        elif asked.what == "u":
            folder.change({name: None})
        elif asked.what == "r":
            target, new = self._split(asked.data.decode())
            assert target is folder, "renamed from one folder to another"
            folder.change({name: None, new: folder.now[name]})

    def _split(self, path: str) -> tuple[Folder, str]:
        return self._folder(os.path.dirname(path)), os.path.basename(path)

    def _folder(self, path: str) -> Folder:
        found = self._top
        for name in Path(path).relative_to(self._root).parts:
            inner = found.now[name]
            assert isinstance(inner, Folder)
            found = inner
        return found

    def now(self, to: Path) -> None:
        """Make `to` what the disk holds while the power is on."""
        _write(self._top, to, lambda folder: folder.now, lambda file: bytes(file.now))

    def least(self, to: Path) -> None:
        """Make `to` what is left after the power failed, where nothing is left that was not synced."""
        _write(self._top, to, lambda folder: folder.synced, lambda file: bytes(file.synced))

    def torn(self, to: Path, chance: random.Random) -> None:
        """Make `to` what is left after the power failed, where some is left of what was not synced."""
        _write(self._top, to, partial(Folder.torn, chance=chance), partial(File.torn, chance=chance))


def _write(folder: Folder, to: Path, names: Callable[[Folder], Names], content: Callable[[File], bytes]) -> None:
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    for name, what in names(folder).items():
        if isinstance(what, Folder):
            _write(what, to / name, names, content)
        else:
            (to / name).write_bytes(content(what))
