"""What people would use instead of the loader: each a module that is run as `python -m tests.bench.peers.NAME`.

    python -m tests.bench.peers.NAME PROVIDER SOURCE URL

`SOURCE`: a CSV or Parquet file, or `postgresql://…#table`. All send the events of `shapes.py`, so that they differ in
how they read, encode and send alone. None keeps a plan or receipts, but for what dlt and drt keep by themselves.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peer:
    """`needs`: the distributions that it imports; none: those of the loader's own tests do. `takes`: kinds of sources
    and names of providers that it can do at all; `because`: why not the others."""

    name: str
    module: str
    what: str
    needs: tuple[str, ...] = ()
    sources: tuple[str, ...] = ("csv", "parquet", "postgres")
    providers: tuple[str, ...] = ("batch", "appizer", "bloomreach", "pushengage")
    because: str = ""

    def can(self, source: str, provider: str) -> bool:
        """Whether it does this work."""
        return source in self.sources and provider in self.providers

    def missing(self, python: str) -> list[str]:
        """The distributions that `python` does not have. Looked for without starting it."""
        folders = [Path(entry) for entry in sys.path] if python == sys.executable else _site_packages(python)
        return [need for need in self.needs if not any((folder / need).exists() for folder in folders)]


def _site_packages(python: str) -> list[Path]:
    return list(Path(python).parent.parent.glob("lib/python3*/site-packages"))


PEERS = (
    Peer("script", "script", "csv.DictReader, json.dumps, one requests.Session"),
    Peer(
        "pandas",
        "pandas_httpx",
        "pandas in chunks, json.dumps, httpx.AsyncClient with 8 connections",
        needs=("pandas", "httpx"),
        sources=("csv",),
        because="its part is to show another way to read the same CSV",
    ),
    Peer(
        "dlt-rows",
        "dlt_load",
        "dlt, rows of csv.DictReader to a custom destination",
        needs=("dlt",),
        sources=("csv",),
        because="its part is to show another way to read the same CSV",
    ),
    Peer(
        "dlt-arrow",
        "dlt_load",
        "dlt, Arrow tables of pyarrow.csv to a custom destination",
        needs=("dlt", "pyarrow"),
        sources=("csv",),
        because="its part is to show another way to read the same CSV",
    ),
    Peer(
        "drt",
        "drt_load",
        "drt, rows of DuckDB to its REST destination in batches",
        needs=("drt", "duckdb"),
        sources=("csv",),
        providers=("batch",),
        because="it reads databases only (here DuckDB opens the file), and one template is shown",
    ),
    Peer(
        "bare",
        "bare",
        "polars and reqwest with 8 connections, as in the loader, and none of its promises",
        sources=("csv",),
        because="its part is to show what the promises cost",
    ),
    Peer(
        "limit",
        "limit",
        "bodies made beforehand, posted over 8 plain sockets by a client that does nothing else",
        sources=("csv",),
        because="where the rows came from makes no difference to it",
    ),
)
