"""Files in S3, Google Cloud Storage and Azure, and behind https addresses.

The content of one is copied to a file of our own, as far as it is read, and read from there: so all readers know one
kind of file, a broken connection never ends in half a row, and a row that a provider refuses can be shown as it was.
A plan copies all of it; for `loader check` and `loader preview` the beginning of a CSV file is enough.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from loader.errors import SourceError
from loader.sources.base import Input

if TYPE_CHECKING:
    from loader.sources.object_store import Stores

SCHEMES = ("s3", "gs", "az", "https")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class Object(Protocol):
    """A remote file. `name`: its address without what is secret. `size`: None where the server does not say.
    `modified`, `tag`: when and how its content is told from any other, as far as the server says."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int | None: ...

    @property
    def modified(self) -> datetime | None: ...

    @property
    def tag(self) -> str | None: ...

    def blocks(self) -> Iterator[bytes]:
        """The content from its first byte to its last. Raises SourceError where it breaks off or is another by now."""


def is_remote(path: str) -> bool:
    """Whether `path` is an address rather than a file of this machine."""
    return _ADDRESS.match(path) is not None


class Remote:
    """Finds remote files. `copies`: the folder for what is read of them."""

    def __init__(self, copies: Path) -> None:
        self._copies = copies
        self._addresses: dict[str, str] = {}
        self._stores: Stores | None = None

    def find(self, path: str) -> list[Input]:
        """The files that `path` (an address, of a store with globs) names, a glob's in the order of their names.

        Raises SourceError where there is none, or where it cannot be told from another one that was found.
        """
        begins = _ADDRESS.match(path)
        scheme = begins[1].lower() if begins else ""
        if scheme not in SCHEMES:
            known = ", ".join(f"{name}://" for name in SCHEMES)
            raise SourceError(f"{scheme}:// is not read, {known} are; copy the file here first")
        # What only remote files need is imported where one is named: a load of local ones starts sooner.
        if scheme == "https":
            from loader.sources import https  # noqa: PLC0415

            file = https.find(path)
            if self._addresses.setdefault(file.name, path) != path:
                raise SourceError(f"{file.name} is named with two queries, which are never shown; load them apart")
            return [_input(file, self._copies)]
        if self._stores is None:
            # They take their time to import, and are an extra.
            from loader.sources.object_store import Stores  # noqa: PLC0415

            self._stores = Stores()
        return [_input(item, self._copies) for item in self._stores.find(path)]


def _input(item: Object, copies: Path) -> Input:
    size = -1 if item.size is None else item.size
    modified = 0 if item.modified is None else int(item.modified.timestamp()) * 10**9
    # What no server vouches for is never taken for what was read before.
    tag = item.tag or (item.modified.isoformat() if item.modified else secrets.token_hex())
    inode = int.from_bytes(hashlib.sha256(tag.encode()).digest()[:8]) >> 1
    copy = _Copy(item, copies / hashlib.sha256(item.name.encode()).hexdigest()[:16])
    return _RemoteInput(item.name, size, modified, inode, copy)


@dataclass(frozen=True)
class _RemoteInput(Input):
    """A remote file as it was found. `inode`: made of its tag."""

    copied: _Copy = field(compare=False)

    @property
    def remote(self) -> bool:
        return True

    def open(self) -> IO[bytes]:
        return io.BufferedReader(_Reader(self.copied))

    def whole(self) -> Path:
        return self.copied.whole()

    def keep(self, at: Path) -> None:
        self.whole().replace(at)

    def digest(self) -> str:
        self.whole()
        return self.copied.hash.hexdigest()

    def check(self) -> None:
        """What was copied stays as it is, and what is copied is of one version."""


class _Copy:
    """A file of our own that holds a remote one as far as it was read."""

    def __init__(self, item: Object, path: Path) -> None:
        self.hash = hashlib.sha256()
        self.path = path
        self._item = item
        self._blocks: Iterator[bytes] | None = None
        self._size = 0
        self._complete = False

    def grow(self) -> bool:
        """Read a block more; False where there is none. Raises SourceError."""
        if self._complete:
            return False
        if self._blocks is None:
            self._blocks = self._item.blocks()
            with self._writing():
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        block = next(self._blocks, b"")
        self._complete = not block
        self._size += len(block)
        self.hash.update(block)
        with self._writing(), self.path.open("ab") as file:
            file.write(block)
        if self._complete and self._item.size not in (None, self._size):
            raise SourceError(
                f"{self._item.name} has {self._item.size} bytes, but {self._size} arrived; nothing of this read is kept"
            )
        return not self._complete

    def whole(self) -> Path:
        """The path, when all is there. Raises SourceError."""
        if not self._complete:
            self._check_space()
        while self.grow():
            pass
        return self.path

    def _check_space(self) -> None:
        missing = (self._item.size or 0) - self._size
        with self._writing():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            free = shutil.disk_usage(self.path.parent).free
        if missing > free:
            raise SourceError(
                f"{self._item.name} needs {missing >> 20} MB for a copy in {self.path.parent}, where "
                f"{free >> 20} MB are free; {_SPACE}"
            )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SourceError(
                f"{self._item.name} cannot be copied to {self.path.parent}: {error.strerror or error}; {_SPACE}"
            ) from None


_SPACE = "free some space there, or choose another folder: a plan's with --state or LOADER_STATE, else with TMPDIR"


class _Reader(io.RawIOBase):
    """A copy as a file, which grows where its end is reached."""

    def __init__(self, copy: _Copy) -> None:
        copy.path.exists() or copy.grow()
        self._copy = copy
        self._file = copy.path.open("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence != io.SEEK_END, "the end is not known before it is read"
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not (count := self._file.readinto(buffer)) and self._copy.grow():
            pass
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
