"""Night after night, unattended: whatever happens in between, every event arrives once.

Two months of nights are played with the data's own calendar: files that arrive in a folder around the clock change of
March, and a table of PostgreSQL with cursor and lag around that of October. At the end what the provider took is
compared with a reading of the source that shares nothing with the loader.
"""

from __future__ import annotations

import csv
import gzip
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from tests.support.project import Project, credentials
from tests.support.proxy import CuttingProxy
from tests.support.sandbox import RunningSandbox

PARIS = ZoneInfo("Europe/Paris")
ROWS = 20
OUTAGE = [{"kind": "503"}]
SLOW = [{"kind": "slow", "seconds": 0.2}]

# Number of the event, its user, its time without a zone.
Row = tuple[int, str, str]


def rows_of(night: int, day: date, count: int = ROWS) -> list[Row]:
    """New rows of a day, the last two of the day before: they come late."""
    found = []
    for n in range(count):
        at = day - timedelta(days=1 if n >= count - 2 else 0)
        found.append((night * 1000 + n, f"{n % 7:05d}", f"{at} {3 + n:02}:{n * 7 % 60:02}:00"))
    return found


def moment(text: str) -> float | None:
    """Seconds since 1970 of a time in Paris; None where the clock showed it never, or twice."""
    naive = datetime.fromisoformat(text)
    first, second = (naive.replace(tzinfo=PARIS, fold=fold) for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        return None
    return first.astimezone(UTC).timestamp()


def expected(rows: list[Row]) -> dict[int, float]:
    """The events that rows make: number and time."""
    return {number: at for number, _, text in rows if (at := moment(text)) is not None}


def delivered(stand_in: RunningSandbox) -> list[tuple[int, float]]:
    """Number and time of each event that the provider took; not those that it knew already."""
    taken = [event["command"]["data"] for event in stand_in.received("bloomreach") if not event["duplicate"]]
    return [(data["properties"]["number"], data["timestamp"]) for data in taken]


def mapping(stand_in: RunningSandbox, source: dict[str, Any]) -> dict[str, Any]:
    sends = {"chunk": 5, "concurrency": 1, "give_up_after": "1s"}
    return {
        "source": source,
        "timezone": "Europe/Paris",
        "event": {
            "id": "number",
            "user": "user",
            "name": {"const": "purchase"},
            "time": "at",
            "properties": {"number": {"expr": "number", "as": "integer"}},
        },
        "destinations": [{**credentials("bloomreach", stand_in.url), **sends}],
    }


class Nights:
    """Runs a mapping each night, and notes how it ended."""

    def __init__(self, project: Project, stand_in: RunningSandbox) -> None:
        self.project, self.stand_in = project, stand_in
        self.codes: list[int] = []
        self.said: list[str] = []

    def run(self, *, faults: list[dict[str, Any]] | None = None, env: dict[str, str] | None = None) -> None:
        """A night, perhaps one in which the provider fails."""
        self.stand_in.faults(faults or [])
        ended = self.project.run(env=env)
        self.stand_in.faults([])
        self.codes.append(ended.code)
        self.said.append(ended.err)

    def killed(self, env: dict[str, str] | None = None) -> None:
        """A night that ends in the middle of a delivery."""
        self.stand_in.faults(SLOW)
        before = len(self.stand_in.requests())
        self.codes.append(self.project.killed_run(lambda: len(self.stand_in.requests()) > before + 1, env=env))
        self.said.append("")
        self.stand_in.faults([])
        status = self.project.loader("status", str(self.project.mapping_path)).out
        assert "it ended without a word: it was killed, or its machine went down" in status
        assert status.rstrip().splitlines()[-1] == f"loader run {self.project.mapping_path}"

    def unusual(self) -> dict[int, int]:
        """The nights that did not end with 0."""
        return {night: code for night, code in enumerate(self.codes) if code}


def written(path: Path, rows: list[Row], *, seconds_ago: float = 86_400) -> None:
    content = "".join(f"{','.join(map(str, row))}\n" for row in [("number", "user", "at"), *rows]).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    then = time.time() - seconds_ago
    os.utime(path, (then, then))


def reading(folder: Path) -> list[Row]:
    found = []
    for path in sorted(folder.iterdir()):
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
        found += [(int(number), user, at) for number, user, at in list(csv.reader(text.splitlines()))[1:]]
    return found


def test_thirty_nights_of_files(project: Project, stand_in: RunningSandbox) -> None:
    folder = project.folder / "in"
    folder.mkdir()
    project.mapping(
        mapping(
            stand_in,
            {"type": "csv", "path": "in/*", "settle": "1h", "expect": {"rows": "10..", "change": "-90%..+400%"}},
        )
    )
    nights = Nights(project, stand_in)
    for night in range(30):
        day = date(2026, 3, 10) + timedelta(days=night)
        rows, path = rows_of(night, day), folder / f"{day}.csv"
        match night:
            case 4:
                written(path, rows)
                nights.run(faults=OUTAGE)
            case 8:
                # Yesterday's file has changed: a row more.
                before = day - timedelta(days=1)
                yesterday = folder / f"{before}.csv"
                written(yesterday, [*rows_of(night - 1, before), (night * 1000 - 1, "00001", f"{before} 12:00:00")])
                written(path, rows)
                nights.run()
                assert f"{yesterday} was loaded by run " in nights.said[-1]
            case 11:
                written(path, rows)
                nights.killed()
            case 14:
                nights.run()
                assert "the source gave 0 rows" in nights.said[-1]
            case 16:
                # The file was cut on its way; the whole one comes a night later.
                whole = path.with_suffix(".csv.gz")
                written(whole, rows)
                content = whole.read_bytes()
                whole.write_bytes(content[: len(content) // 2])
                os.utime(whole, (1, 1))
                nights.run()
                assert "cannot be unpacked" in nights.said[-1]
                written(whole, rows)
            case 19:
                assert day == date(2026, 3, 29)
                written(path, [*rows, (night * 1000 + 500, "00001", f"{day} 02:30:00")])
                nights.run()
            case 22:
                written(path, rows[:3])
                nights.run()
                assert "the source gave 3 rows, not counting filtered ones; expected at least 10." in (nights.said[-1])
                written(path, rows)
            case 25:
                written(path, rows, seconds_ago=0)
                nights.run()
                assert "it waits for a later run (settle: 3600s)" in nights.said[-1]
                written(path, rows)
            case _:
                # Some rows of the night before come again.
                again = rows_of(night - 1, day - timedelta(days=1))[:3] if night in (2, 6, 13, 28) else []
                written(path, [*again, *rows])
                nights.run()
    assert nights.unusual() == {4: 5, 11: -signal.SIGKILL, 14: 2, 16: 2, 19: 3, 22: 2, 25: 2}
    assert project.run().code == 2, "nothing new is not what is expected of a night"
    taken = delivered(stand_in)
    assert sorted(taken) == sorted(expected(reading(folder)).items())
    assert len(taken) == 29 * ROWS + 1


@pytest.fixture
def table(postgres_url: str) -> Iterator[tuple[sa.Connection, str]]:
    """A connection that commits by itself, and the name of a table."""
    url = sa.make_url(postgres_url).set(drivername="postgresql+psycopg")
    engine, name = sa.create_engine(url, isolation_level="AUTOCOMMIT"), f"loader_nights_{uuid4().hex}"
    with engine.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE TABLE {name} (number int, usr text, at timestamp, changed timestamptz, pad text)"
        )
        yield connection, name
        connection.exec_driver_sql(f"DROP TABLE {name}")
    engine.dispose()


def test_nights_of_a_table_with_cursor_and_lag(
    project: Project, stand_in: RunningSandbox, postgres_url: str, table: tuple[sa.Connection, str]
) -> None:
    connection, name = table
    source = {
        "type": "sql",
        "url": "${SHOP_URL}",
        "query": f'SELECT number, usr AS "user", at, changed, pad FROM {name} WHERE changed >= :cursor ORDER BY number',
        "cursor": {"column": "changed", "initial": "2026-10-01T00:00:00Z", "lag": "1h"},
    }
    project.mapping(mapping(stand_in, source))
    nights = Nights(project, stand_in)
    host = sa.make_url(postgres_url)
    direct, everything = {"SHOP_URL": postgres_url}, []

    def insert(rows: list[Row], changed: datetime) -> None:
        everything.extend(rows)
        for number, user, at in rows:
            connection.execute(
                sa.text(f"INSERT INTO {name} VALUES (:n, :u, CAST(:a AS timestamp), :c, repeat('x', 300))"),
                {"n": number, "u": user, "a": at, "c": changed},
            )

    for night in range(12):
        day = date(2026, 10, 16) + timedelta(days=night)
        rows, changed = rows_of(night, day), datetime(day.year, day.month, day.day, 23, tzinfo=UTC)
        # Committed after the run of the night before had read, with the very time at which its cursor stands, and
        # with one below it.
        if night not in (0, 7):
            insert([(night * 1000 + 900, "00001", f"{day} 12:00:00")], changed - timedelta(days=1))
            insert([(night * 1000 + 901, "00001", f"{day} 12:00:00")], changed - timedelta(days=1, minutes=40))
        match night:
            case 3:
                insert(rows, changed)
                nights.run(env=direct, faults=OUTAGE)
            case 5:
                insert(rows, changed)
                nights.killed(direct)
            case 6:
                # Nobody wrote anything new: what lies within the lag is there already.
                nights.run(env=direct)
            case 7:
                with CuttingProxy(str(host.host), host.port or 5432, after=0, cuts=0) as gone:
                    pass
                nights.run(env={"SHOP_URL": through(host, gone.port)})
                assert "cannot be opened" in nights.said[-1]
                insert(rows, changed)
            case 8:
                insert(rows, changed)
                # ADBC reads over its second connection, the third in all.
                with CuttingProxy(str(host.host), host.port or 5432, after=4000, cuts=3) as half_way:
                    nights.run(env={"SHOP_URL": through(host, half_way.port)})
                assert "nothing of this read is kept, all is read again in 1 s" in nights.said[-1]
            case 9:
                assert day == date(2026, 10, 25)
                insert([*rows, (night * 1000 + 500, "00001", f"{day} 02:30:00")], changed)
                nights.run(env=direct)
            case _:
                insert(rows, changed)
                nights.run(env=direct)
    nights.run(env=direct)
    # The row that is refused lies within the lag, so that it is read twice.
    assert nights.unusual() == {3: 5, 5: -signal.SIGKILL, 7: 2, 9: 3, 10: 3}
    assert sorted(delivered(stand_in)) == sorted(expected(everything).items())


def through(url: sa.URL, port: int) -> str:
    return url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
