"""The databases that are read, one per file: how a read-only snapshot is opened, and what the types of a result are."""

from __future__ import annotations

from collections.abc import Mapping

from loader.sources.databases.base import Cells, Database, Query, unknown_type
from loader.sources.databases.duckdb import DuckDb
from loader.sources.databases.mysql import MySql
from loader.sources.databases.postgres import Postgres
from loader.sources.databases.sqlite import Sqlite

__all__ = ["DATABASES", "Cells", "Database", "Query", "Sqlite", "unknown_type"]

DATABASES: Mapping[str, type[Database]] = {
    "postgresql": Postgres,
    "postgres": Postgres,
    "mysql": MySql,
    "mariadb": MySql,
    "sqlite": Sqlite,
    "duckdb": DuckDb,
}
