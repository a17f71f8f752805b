"""The file of a checkpoint: made, opened, proven, and used in transactions."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from loader.checkpoint.tables import VERSION, meta, metadata
from loader.errors import StateError

_RECOVERY = (
    "Restore it from a backup, or move the state folder away to start anew: then what was delivered before is not "
    "known any more and would be sent again"
)


class Database:
    """The file of one mapping's checkpoint. `open` it to write, with the state's lock; `find` it to read, without."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self.path = path
        self.engine = engine
        self._transaction = threading.local()

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """The checkpoint in `folder` for reading, or None where there is none. Raises StateError."""
        path = folder / "checkpoint.db"
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StateError(f"{path} cannot be read: {error.strerror}. Check its owner and permissions") from None
        return cls._connect(path)

    @classmethod
    def open(cls, folder: Path, mapping: str) -> Self:
        """The checkpoint in `folder`, made where there is none. Needs the state's lock. Raises StateError."""
        found = cls.find(folder)
        if found is not None:
            return found
        # Made under another name, so that a file that is there is a whole checkpoint.
        path, unfinished = folder / "checkpoint.db", folder / "checkpoint.unfinished"
        try:
            for rest in folder.glob("checkpoint.unfinished*"):
                rest.unlink()
            engine = sa.create_engine(_url(unfinished))
            with translated(unfinished, "written"), engine.begin() as connection:
                # Otherwise Python's driver commits each table by itself.
                connection.exec_driver_sql("BEGIN")
                metadata.create_all(connection)
                connection.execute(sa.insert(meta).values(version=VERSION, mapping=mapping))
            engine.dispose()
            unfinished.rename(path)
        except OSError as error:
            raise StateError(f"the state folder {folder} cannot be written: {error.strerror}") from None
        return cls._connect(path)

    @classmethod
    def _connect(cls, path: Path) -> Self:
        engine = sa.create_engine(_url(path), connect_args={"timeout": 30, "check_same_thread": False})
        sa.event.listen(engine, "connect", _configure)
        checkpoint = cls(path, engine)
        # SQLite leaves one file behind only where it is closed, and a process that ends collects no garbage.
        weakref.finalize(checkpoint, engine.dispose)
        with checkpoint.reading() as connection:
            damage = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if path.stat().st_size % connection.exec_driver_sql("PRAGMA page_size").scalar_one():
                # Zeros would stand in for what is missing of the last page.
                damage = "it was cut"
            version = connection.scalar(sa.select(meta.c.version))
        if damage != "ok":
            raise StateError(f"{path} is damaged ({str(damage).splitlines()[-1]}). {_RECOVERY}")
        if version != VERSION:
            raise StateError(
                f"{path} was written by another version of the loader (checkpoint version {version}, this one knows "
                f"{VERSION}); use that version, or another --state folder"
            )
        return checkpoint

    def close(self) -> None:
        """Give back the file."""
        self.engine.dispose()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: all of it is durable when the block ends, or nothing. Raises StateError.

        What is read and written meanwhile, by the same thread, takes part in it.
        """
        under_way: Connection | None = getattr(self._transaction, "connection", None)
        if under_way is not None:
            yield under_way
            return
        with translated(self.path, "written"), self.engine.begin() as connection:
            self._transaction.connection = connection
            try:
                yield connection
            finally:
                del self._transaction.connection

    @contextlib.contextmanager
    def reading(self, what: str = "read") -> Iterator[Connection]:
        """A connection to read from. Raises StateError."""
        under_way: Connection | None = getattr(self._transaction, "connection", None)
        if under_way is not None:
            yield under_way
            return
        with translated(self.path, what), self.engine.connect() as connection:
            yield connection


def _url(path: Path) -> sa.URL:
    # Not as text, where a `?` in the name of a folder would end the path.
    return sa.URL.create("sqlite", database=str(path))


def _configure(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


@contextlib.contextmanager
def translated(path: Path, what: str) -> Iterator[None]:
    """Turn the database's errors, as SQLAlchemy or the driver raises them, into a StateError that says what to do."""
    try:
        yield
    except (sa.exc.DatabaseError, sqlite3.DatabaseError) as error:
        cause = str(error.orig if isinstance(error, sa.exc.DatabaseError) else error)
        if "full" in cause or "disk I/O error" in cause:
            raise StateError(
                f"the disk is full or failing: {path} cannot be written. Free some space, then run again"
            ) from None
        if "readonly" in cause or "unable to open" in cause:
            raise StateError(f"{path} cannot be {what}: {cause}. Check its owner and permissions") from None
        if "not a database" in cause or "malformed" in cause or "no such" in cause:
            raise StateError(f"{path} is damaged ({cause}). {_RECOVERY}") from None
        raise StateError(f"{path} cannot be {what}: {cause}") from None
