"""What a plan keeps on disk: `<run>/<destination>/NNNNN.parquet`, and beside it the rejections and the rows themselves.

A part holds whole chunks only, so parts can be sent apart. A file is written under another name, synced and renamed:
one that is there is complete. Its checksum stands beside it (`NNNNN.sha256`, as `sha256sum --check` reads it), for
Parquet does not notice that a byte has changed, and a resumed run sends the bytes that were planned or none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from loader.durable import make_folder, sync_folder
from loader.errors import StateError
from loader.plan.background import Background
from loader.rejection import SCHEMA

# `chunk`: number from 1. `event`, `user`: JSON text. `time`: microseconds since 1970 where a window must be kept.
PART_SCHEMA: dict[str, pl.DataType] = {
    "chunk": pl.UInt32(),
    "row": pl.UInt64(),
    "id": pl.String(),
    "time": pl.Int64(),
    "user": pl.String(),
    "event": pl.String(),
}

# `destination`: null where the row made no event at all. `record`: the row itself as a JSON object.
REJECTION_SCHEMA: dict[str, pl.DataType] = {**SCHEMA, "destination": pl.String(), "record": pl.String()}

# Rows of a file that are written and read side by side.
_ROW_GROUP = 10_000

# No space left on device, file too large, disk quota exceeded.
_FULL = ("os error 28", "os error 27", "os error 122", "Errno 28", "Errno 27", "Errno 122")

REJECTED = "_rejected"
ASIDE = "restore it; nothing that is sent depends on it"


def part_path(run_folder: Path, destination: str, number: int) -> Path:
    """The file of a part."""
    return run_folder / destination / f"{number:05d}.parquet"


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn errors of writing `path` into a StateError that says what to do."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        if any(words in str(error) for words in _FULL):
            raise StateError(f"the disk is full: {path} cannot be written. Free some space, then run again") from None
        raise StateError(f"{path} cannot be written: {error}") from None


def write_durably(frame: pl.DataFrame, path: Path) -> None:
    """Write `frame` so that `path` is either complete and on disk, or not there. Raises StateError."""
    unfinished, checksum = path.with_suffix(".unfinished"), path.with_suffix(".sha256")
    with writing_to(path):
        make_folder(path.parent)
        frame.write_parquet(unfinished, compression="lz4", statistics=False, row_group_size=_ROW_GROUP)
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with checksum.open("w", encoding="utf-8") as file:
            file.write(f"{digest}  {path.name}\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        sync_folder(path.parent)


def open_part(run_folder: Path, destination: str, number: int) -> pl.DataFrame:
    """The events of a part (`PART_SCHEMA`), in the order of the plan. Raises StateError if it is missing or damaged."""
    events = _read(part_path(run_folder, destination, number), "restore it, or drop the rest with `loader cancel`")
    # A part is written in the order of its chunks; grouping relies on it.
    return events.with_columns(pl.col("chunk").set_sorted())


def _read(path: Path, way_out: str) -> pl.DataFrame:
    """The frame that `write_durably` wrote. Raises StateError with `way_out` where it is gone or not as it was."""
    try:
        written = path.read_bytes()
        checksum = path.with_suffix(".sha256").read_bytes()
        if hashlib.sha256(written).hexdigest().encode() == checksum[:64]:
            return pl.read_parquet(written)
        cause = "its bytes are not those that were written"
    except FileNotFoundError as error:
        raise StateError(f"{error.filename} is missing, a part of the plan: {way_out}") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        cause = str(error)
    raise StateError(f"{path} is damaged, a part of the plan ({cause}): {way_out}")


class Numbered:
    """Frames collected into files of about `rows_per_file` rows, in a folder of their own."""

    rows_per_file = 100_000
    folder_name: str

    def __init__(self, run_folder: Path, background: Background) -> None:
        self._folder, self._background = run_folder / self.folder_name, background
        self._frames: list[pl.DataFrame] = []
        self._rows = 0
        self._files = 0

    def _add(self, frame: pl.DataFrame) -> None:
        if len(frame) == 0:
            return
        self._frames.append(frame)
        self._rows += len(frame)
        if self._rows >= self.rows_per_file:
            self.close()

    def close(self) -> None:
        """Write what is left."""
        if self._frames:
            self._files += 1
            self._background.do(self._write, self._frames, self._folder / f"{self._files:05d}")
            self._frames, self._rows = [], 0

    @staticmethod
    def _write(frames: list[pl.DataFrame], path: Path) -> None:
        write_durably(pl.concat(frames, how="vertical_relaxed"), path.with_suffix(".parquet"))


class RejectionWriter(Numbered):
    """Rejections of the plan, with the rows themselves."""

    folder_name = REJECTED

    def add(self, rejected: pl.DataFrame, records: pl.DataFrame, destination: str | None) -> None:
        """Keep `rejected` (`rejection.SCHEMA`); `records` has `row` and `record` for at least their rows."""
        if len(rejected):
            named = rejected.with_columns(destination=pl.lit(destination, pl.String))
            self._add(named.join(records, on="row", how="left").select(list(REJECTION_SCHEMA)))


def read_rejections(run_folder: Path) -> pl.DataFrame:
    """All rejections of a plan (`REJECTION_SCHEMA`), in the order in which they were found. Raises StateError."""
    frames = [_read(path, ASIDE) for path in sorted((run_folder / REJECTED).glob("*.parquet"))]
    return pl.concat(frames) if frames else pl.DataFrame(schema=REJECTION_SCHEMA)
