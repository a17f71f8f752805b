"""Finding files, Parquet, files that change, and the cursor over files."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loader.errors import SourceError
from loader.settings import CursorValue
from loader.sources import Input
from tests.sources.helpers import failure, opened, read, sized


def csv(path: Path | list[str] | str, **keys: Any) -> dict[str, Any]:
    return {"type": "csv", "path": path if isinstance(path, list) else str(path), **keys}


def parquet(path: Path, **keys: Any) -> dict[str, Any]:
    return {"type": "parquet", "path": str(path), **keys}


def test_globs_and_lists(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c[1].csv", ".hidden.csv"):
        (tmp_path / name).write_text("a\n1\n")
    (tmp_path / "sub.csv").mkdir()
    (tmp_path / "sub.csv" / "d.csv").write_text("a\n1\n")

    def names(paths: list[str]) -> list[str]:
        return [str(Path(file.path).relative_to(tmp_path)) for file in opened(csv(paths)).inputs]

    assert names([f"{tmp_path}/[ab].csv"]) == ["a.csv", "b.csv"]
    assert names([f"{tmp_path}/b.csv", f"{tmp_path}/[abc]*.csv"]) == ["b.csv", "a.csv", "c[1].csv"]
    assert names([f"{tmp_path}/c[1].csv"]) == ["c[1].csv"]
    assert names([f"{tmp_path}/**/d.csv"]) == ["sub.csv/d.csv"]


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    assert failure(csv(tmp_path / "no.csv")) == f"{tmp_path}/no.csv: there is no such file"
    assert failure(csv(tmp_path / "*.csv")) == f"{tmp_path}/*.csv: no file matches"
    assert failure(csv(tmp_path)) == f"{tmp_path} is a directory; name the files in it, such as {tmp_path}/*.csv"
    os.mkfifo(tmp_path / "pipe")
    assert (
        failure(csv(tmp_path / "pipe")) == f"{tmp_path}/pipe is not a regular file; save what it gives to a file first"
    )
    for url in ("hdfs://host/a.csv", "http://host/a.csv", "s3a://host/*.csv"):
        known = "s3://, gs://, az://, https:// are; copy the file here first"
        assert failure(csv(url)) == f"{url.partition(':')[0]}:// is not read, {known}"


def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        for folder in (tmp_path, *tmp_path.parents[:2]):
            folder.chmod(0o755)
        os.seteuid(65534)
    try:
        assert failure(csv(path)) == f"{path} cannot be read: Permission denied"
    finally:
        if root:
            os.seteuid(0)


def test_input(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\n1\n")
    (file,) = opened(csv(path)).inputs
    stat = path.stat()
    assert file == Input(str(path), 4, stat.st_mtime_ns, stat.st_ino)
    assert file.digest() == hashlib.sha256(b"a\n1\n").hexdigest()
    path.write_bytes(b"a\n1\n2\n")
    assert file.digest() == hashlib.sha256(b"a\n1\n").hexdigest(), "computed once"
    with pytest.raises(SourceError, match="changed while it was read"):
        Input(str(path), 4, stat.st_mtime_ns, stat.st_ino).digest()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("change", ["append", "replace", "touch", "remove"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, kind: str, change: str) -> None:
    path = tmp_path / f"a.{kind}"
    frame = pl.DataFrame({"a": [str(i) for i in range(2000)]})
    if kind == "csv":
        frame.write_csv(path)
    elif kind == "jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_parquet(path)
    with sized(500, 50):
        frames = opened({"type": kind, "path": str(path)}).frames()
        next(frames)
        if change == "append":
            with path.open("ab") as file:
                file.write(b'{"a":"1"}\n')
        elif change == "replace":
            copy = tmp_path / "copy"
            copy.write_bytes(path.read_bytes())
            os.utime(copy, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
            copy.rename(path)
        elif change == "touch":
            os.utime(path, ns=(1, 1))
        else:
            path.unlink()
        with pytest.raises(SourceError) as caught:
            list(frames)
    assert str(caught.value) == (
        f"{path} changed while it was read; nothing of this read is kept. Run again when the file is complete."
    )


def test_parquet_keeps_types_and_order(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "i": pl.Series([9007199254740993, None, 3], dtype=pl.Int64),
            "d": pl.Series([Decimal("12.10"), None, Decimal("0.01")], dtype=pl.Decimal(10, 2)),
            "t": pl.Series([datetime(2026, 3, 1, tzinfo=UTC), None, None], dtype=pl.Datetime("us", "UTC")),
            "n": [{"a": [1, 2], "b": None}, None, {"a": [], "b": "x"}],
            "raw": [b"\xff", None, b""],
            "c": pl.Series(["x", "y", "x"], dtype=pl.Categorical),
            "row": [1, 2, 3],
        }
    )
    rows.write_parquet(tmp_path / "b.parquet")
    rows.write_parquet(tmp_path / "a.parquet")
    with sized(1, 2):
        found = read(parquet(tmp_path / "*.parquet"))
    assert found.columns == dict(rows.schema) | {"c": pl.String()}
    assert found.rows == [*rows.iter_rows(named=True), *rows.iter_rows(named=True)]
    assert found.numbers == [1, 2, 3, 4, 5, 6]


def test_parquet_files_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"")
    assert failure(parquet(path)) == f"{path} is empty (0 bytes)"
    path.write_bytes(b"id,name\n1,2\n")
    assert failure(parquet(path)).startswith(f"{path} is not a Parquet file, or it is damaged: ")
    pl.DataFrame({"a": range(10_000)}).write_parquet(path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[100:400] = b"\0" * 300
    path.write_bytes(content)
    assert failure(parquet(path)).startswith(f"{path} is not a Parquet file, or it is damaged: ")
    pl.DataFrame({"a": [1]}).write_parquet(path)
    other = tmp_path / "b.parquet"
    pl.DataFrame({"a": ["x"]}).write_parquet(other)
    assert failure(parquet(tmp_path / "*.parquet")) == (
        f"{other}: the column 'a' is of type String, but of type Int64 in {path}; load them apart"
    )
    pl.DataFrame({"b": [1]}).write_parquet(other)
    assert f"{other} has no column 'a'" in failure(parquet(tmp_path / "*.parquet"))
    pl.DataFrame({"__row": [1]}).write_parquet(path)
    assert "has a column named '__row'" in failure(parquet(path))


CURSOR_ROWS = "id,n,t\na,1,2026-01-01T00:00:00Z\nb,2,2026-01-02T00:00:00Z\nc,3,2026-01-03T00:00:00Z\nd,,\n"


@pytest.mark.parametrize(
    ("cursor", "stored", "taken", "highest"),
    [
        ({"column": "n"}, None, "abc", 3),
        ({"column": "n", "initial": 1}, None, "bc", 3),
        ({"column": "n", "initial": "2", "lag": 1}, None, "c", 3),
        ({"column": "n", "initial": 1}, 2, "c", 3),
        ({"column": "n", "lag": 1}, 2, "abc", 3),
        ({"column": "n"}, 7, "", 7),
        ({"column": "t", "initial": "2026-01-01T00:00:00Z"}, None, "bc", datetime(2026, 1, 3, tzinfo=UTC)),
        ({"column": "t", "initial": "2026-01-02"}, None, "bc", datetime(2026, 1, 3, tzinfo=UTC)),
        ({"column": "t", "lag": "1d"}, datetime(2026, 1, 3, tzinfo=UTC), "bc", datetime(2026, 1, 3, tzinfo=UTC)),
        ({"column": "id", "initial": "b"}, None, "cd", "d"),
    ],
)
def test_a_cursor_filters_files(
    tmp_path: Path, cursor: dict[str, Any], stored: CursorValue | None, taken: str, highest: CursorValue
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(CURSOR_ROWS)
    types = {"n": "integer", "t": "datetime"}
    with sized(20, 2):
        found = read(csv(path, types=types, cursor=cursor), cursor=stored, timezone="Europe/Paris", used=["id"])
    assert "".join(row["id"] for row in found.rows) == taken
    assert found.cursor == highest
    assert type(found.cursor) is type(highest)
    lost = [] if cursor["column"] == "id" else [(4, "missing_cursor", cursor["column"])]
    assert [row[:3] for row in found.rejected] == lost
    assert found.filtered == 4 - len(found.rows) - len(lost)


def test_rows_below_the_cursor_are_filtered_not_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("n,x\n1,bad\n2,bad\nz,5\n4,6\n")
    found = read(csv(path, types={"n": "integer", "x": "integer"}, cursor={"column": "n"}), cursor=1)
    assert (found.filtered, found.rows, found.cursor) == (1, [{"n": 4, "x": 6}], 4)
    assert [row[:3] for row in found.rejected] == [(2, "bad_type", "x"), (3, "bad_type", "n")]


def test_a_cursor_over_parquet_keeps_its_type(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    days = [date(2026, 1, day) for day in (1, 2, 3)]
    naive = [datetime(2026, 1, day) for day in (1, 2, 3)]
    amounts = pl.Series([Decimal("1.10"), Decimal("2.20"), Decimal("3.30")], dtype=pl.Decimal(10, 2))
    pl.DataFrame({"day": days, "t": naive, "x": amounts, "f": [1.5, float("nan"), 3.5]}).write_parquet(path)
    cases: list[tuple[dict[str, Any], CursorValue | None, int, CursorValue]] = [
        ({"column": "day", "initial": "2026-01-02"}, None, 1, days[2]),
        ({"column": "day", "lag": "12h"}, days[2], 2, days[2]),
        ({"column": "t", "initial": "2026-01-01T23:30:00Z"}, None, 1, naive[2]),
        ({"column": "t", "initial": "2026-01-01 23:30:00"}, None, 2, naive[2]),
        ({"column": "x"}, Decimal("2.20"), 1, Decimal("3.30")),
        ({"column": "f", "initial": 1.5}, None, 2, 3.5),
    ]
    for cursor, stored, count, highest in cases:
        found = read(parquet(path, cursor=cursor), cursor=stored, timezone="Europe/Paris")
        assert (len(found.rows), found.cursor) == (count, highest)
        assert type(found.cursor) is type(highest)


def test_cursors_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"n": [1], "t": [datetime(2026, 1, 1)], "l": [[1]], "s": ["x"]}).write_parquet(path)

    def said(cursor: dict[str, Any], stored: CursorValue | None = None) -> str:
        return failure(parquet(path, cursor=cursor), cursor=stored)

    assert said({"column": "nn"}) == "the cursor's column 'nn' is not there; did you mean 'n'?"
    assert said({"column": "l"}) == "the cursor's column 'l' is of type List(Int64), which has no order"
    assert said({"column": "n", "initial": "x"}) == (
        "the cursor's value 'x' does not fit the column 'n'; expected an integer"
    )
    assert "does not fit the column 'n'" in said({"column": "n"}, datetime(2026, 1, 1, tzinfo=UTC))
    assert "does not fit the column 't'" in said({"column": "t", "initial": "soon"})
    assert said({"column": "t", "initial": "2026-01-01T00:00:00Z"}) == (
        "the cursor's value '2026-01-01T00:00:00Z' has a zone, its column has none; name the zone with `timezone:`"
    )
    assert said({"column": "s", "lag": 3}, "x") == (
        "`lag` needs a cursor of times or numbers; the column 's' holds text, which can have 0"
    )
