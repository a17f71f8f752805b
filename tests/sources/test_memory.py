"""The memory of a read does not grow with its rows: 300,000, or as many as LOADER_TEST_ROWS says.

LOADER_TEST_ROWS=5000000 pytest tests/sources/test_memory.py -s
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import polars as pl
import pytest

ROWS = int(os.environ.get("LOADER_TEST_ROWS", "300000"))
# The rows are 500 bytes wide: 300,000 of them, held at once, take more than three times as much.
GROWTH_MB = 50

QUERIES = {
    "postgres": "SELECT n, repeat('x', 490) AS x FROM generate_series(1, {}) AS n",
    "mysql": "SELECT seq AS n, repeat('x', 490) AS x FROM seq_1_to_{}",
    "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {}) "
    "SELECT n, printf('%.490c', 'x') AS x FROM s",
    "duckdb": "SELECT range AS n, repeat('x', 490) AS x FROM range({})",
}

READ = """
import json, re, sys
from pathlib import Path
from tests.sources.helpers import opened

def peak():
    # Not of getrusage, which begins with the peak of the process that starts this one.
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

rows, early = 0, 0
for frame in opened(json.loads(sys.argv[1])).frames():
    rows += frame.rows.height
    if rows <= 100_000:
        early = peak()
print(json.dumps([rows, early, peak()]))
"""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["postgres-copy", *QUERIES])
def test_memory_does_not_grow_with_the_rows(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOADER_POSTGRES", raising=False)
    kind, _, way = kind.partition("-")
    if way:
        monkeypatch.setenv("LOADER_POSTGRES", way)
    if kind == "duckdb":
        duckdb.connect(str(tmp_path / "shop.duckdb")).close()
    elif kind == "sqlite":
        (tmp_path / "shop.sqlite").touch()
    url = (
        request.getfixturevalue(f"{kind}_url") if kind in ("postgres", "mysql") else f"{kind}:///{tmp_path}/shop.{kind}"
    )
    settings = {"type": "sql", "url": url, "query": QUERIES[kind].format(ROWS)}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(settings)], capture_output=True, text=True, check=True
    )
    rows, early, peak = json.loads(done.stdout)
    seconds = time.monotonic() - began
    print(
        f"{kind}: {rows:,} rows, {rows / seconds:,.0f} rows/s, {early:.0f} MB at 100,000 rows, {peak:.0f} MB at the end"
    )
    assert rows == ROWS
    assert peak - early < GROWTH_MB


@pytest.mark.timeout(1800)
def test_memory_does_not_grow_with_a_row_group(tmp_path: Path) -> None:
    """Readers like to take a row group of Parquet as a whole."""
    peaks = []
    for rows in (ROWS, 3 * ROWS):
        path = tmp_path / f"{rows}.parquet"
        numbers = pl.select(n=pl.int_range(rows)).lazy()
        numbers.with_columns(x=pl.col("n").cast(pl.String).str.pad_start(490, "x")).sink_parquet(
            path, row_group_size=rows
        )
        settings = {"type": "parquet", "path": str(path)}
        done = subprocess.run(
            [sys.executable, "-c", READ, json.dumps(settings)], capture_output=True, text=True, check=True
        )
        found, _, peak = json.loads(done.stdout)
        assert found == rows
        peaks.append(peak)
    print(f"parquet: {peaks[0]:.0f} MB for {ROWS:,} rows, {peaks[1]:.0f} MB for three times as many")
    # The file itself counts, which is mapped into memory; the rows that are more take six times as much.
    assert peaks[1] - peaks[0] < 2 * GROWTH_MB
