"""The databases that are read, one per file: how a read-only snapshot is opened, and what the types of a result are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from loader.sources.databases.base import Cells, Database, Query, unknown_type
from loader.sources.databases.duckdb import DuckDb
from loader.sources.databases.mysql import MySql
from loader.sources.databases.other import Other
from loader.sources.databases.postgres import Postgres
from loader.sources.databases.sqlite import Sqlite

__all__ = ["DATABASES", "Cells", "Database", "Query", "unknown_type"]

DATABASES: Mapping[str, Callable[[], Database]] = {
    "postgresql": Postgres,
    "postgres": Postgres,
    "mysql": MySql,
    "mariadb": MySql,
    "sqlite": Sqlite,
    "duckdb": DuckDb,
    "snowflake": partial(Other, "snowflake", "snowflake"),
    "bigquery": partial(Other, "bigquery", "bigquery"),
    "redshift": partial(Other, "redshift", "redshift+psycopg2"),
    "mssql": partial(Other, "mssql", "mssql+pymssql"),
    "oracle": partial(Other, "oracle", "oracle+oracledb"),
}
