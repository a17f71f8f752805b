"""What is sent of each type of a database: edge values and null, as JSON text."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch
from uuid import uuid4

import polars as pl
import pytest
import sqlalchemy as sa

from loader import jsontext
from loader.sources.databases.base import Database
from loader.sources.databases.postgres import Postgres
from tests.sources.helpers import Everything, read

DIGITS_38 = "9" * 38

# Type: what is inserted as text, and what is sent of it.
POSTGRES: dict[str, list[tuple[str, str]]] = {
    "smallint": [("-32768", "-32768")],
    "integer": [("2147483647", "2147483647")],
    "bigint": [("9007199254740993", "9007199254740993"), ("-9223372036854775808", "-9223372036854775808")],
    "numeric(10,2)": [("12.10", "12.10"), ("-0.01", "-0.01"), ("0", "0.00")],
    "numeric(38,0)": [(DIGITS_38, DIGITS_38), (f"-{DIGITS_38}", f"-{DIGITS_38}")],
    "numeric(50,3)": [("1" * 47 + ".100", "1" * 47 + ".100")],
    "numeric": [
        ("12.100", "12.100"),
        ("9007199254740993", "9007199254740993"),
        ("0.000000000000000000001", "0.000000000000000000001"),
    ],
    "real": [("0.1", "0.1"), ("3.4028235e38", "3.4028235e+38")],
    "double precision": [("0.1", "0.1"), ("5e-324", "5e-324"), ("1.7976931348623157e308", "1.7976931348623157e+308")],
    "boolean": [("t", "true"), ("f", "false")],
    "timestamptz": [
        ("2026-01-01 10:00:00.123456+02", '"2026-01-01T08:00:00.123456Z"'),
        ("0001-01-01 00:00:00+00", '"0001-01-01T00:00:00Z"'),
        ("9999-12-31 23:59:59+00", '"9999-12-31T23:59:59Z"'),
    ],
    "timestamp": [
        ("2026-03-29 02:30:00", '"2026-03-29T02:30:00"'),
        ("1969-12-31 23:59:59.5", '"1969-12-31T23:59:59.500"'),
    ],
    "date": [("2028-02-29", '"2028-02-29"'), ("0001-01-01", '"0001-01-01"')],
    "time": [("23:59:59.999999", '"23:59:59.999999"')],
    "uuid": [("7D3DDA56-413F-4479-BCA9-B0D31C7196C3", '"7d3dda56-413f-4479-bca9-b0d31c7196c3"')],
    "text": [("", '""'), ("00123", '"00123"'), ("NO", '"NO"'), ('"\\\n\t\x01é😀', '"\\"\\\\\\n\\t\\u0001é😀"')],
    "char(3)": [("x", '"x  "')],
    "json": [
        (
            '{"b": 12.10, "a": [9007199254740993, 1e400, "x : y"], "b": 1}',
            '{"b":12.10,"a":[9007199254740993,1e400,"x : y"],"b":1}',
        ),
        ("null", "null"),
    ],
    "jsonb": [
        ('{"n": 123456789012345678901234567890.10, "t": "\\u00e9"}', '{"n":123456789012345678901234567890.10,"t":"é"}')
    ],
    "integer[]": [("{1,NULL,3}", "[1,null,3]"), ("{}", "[]")],
    "bigint[]": [("{9007199254740993}", "[9007199254740993]")],
    "numeric[]": [("{1.10,12345678901234567890.123}", "[1.10,12345678901234567890.123]")],
    "text[]": [('{a,NULL,"NULL","b,\\"c\\\\",""}', '["a",null,"NULL","b,\\"c\\\\",""]')],
    "jsonb[]": [('{"{\\"a\\": 1.10}"}', '[{"a":1.10}]')],
    "boolean[]": [("{t,f,NULL}", "[true,false,null]")],
    "mood": [("it's", '"it\'s"')],
}

MYSQL: dict[str, list[tuple[str, str]]] = {
    "tinyint(1)": [("1", "1"), ("-128", "-128")],
    "int unsigned": [("4294967295", "4294967295")],
    "bigint": [("9007199254740993", "9007199254740993"), ("-9223372036854775808", "-9223372036854775808")],
    "bigint unsigned": [("18446744073709551615", "18446744073709551615")],
    "decimal(10,2)": [("12.10", "12.10"), ("-0.01", "-0.01")],
    "decimal(38,0)": [(DIGITS_38, DIGITS_38)],
    "decimal(65,30)": [("1.5", "1.500000000000000000000000000000")],
    "double": [("0.1", "0.1"), ("1.7976931348623157e308", "1.7976931348623157e+308")],
    "timestamp(6) null": [("2026-01-01 10:00:00.123456", '"2026-01-01T10:00:00.123456Z"')],
    "datetime(6)": [("2026-03-29 02:30:00", '"2026-03-29T02:30:00"'), ("9999-12-31 23:59:59", '"9999-12-31T23:59:59"')],
    "date": [("2028-02-29", '"2028-02-29"')],
    "time": [("-838:59:59", '"-838:59:59"')],
    "year": [("2155", "2155")],
    "varchar(20)": [("", '""'), ("00123", '"00123"'), ('"\\\n😀', '"\\"\\\\\\n😀"')],
    "json": [('{"b": 12.10, "a": [9007199254740993, "x : y"]}', '{"b":12.10,"a":[9007199254740993,"x : y"]}')],
    "enum('a','it''s')": [("it's", '"it\'s"')],
    "set('x','y')": [("x,y", '"x,y"'), ("", '""')],
}


def _sent(found: Everything) -> list[str | None]:
    return [
        text
        for frame in found.frames
        for text in frame.rows.select(jsontext.value(pl.col("v"), frame.rows.schema["v"])).to_series()
    ]


@pytest.fixture(scope="module")
def postgres(postgres_url: str) -> Any:
    engine = sa.create_engine(
        sa.make_url(postgres_url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    schema = f"loader_{uuid4().hex}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        connection.exec_driver_sql(f"SET search_path TO {schema}")
        connection.exec_driver_sql("CREATE TYPE mood AS ENUM ('sad', 'it''s')")
        connection.exec_driver_sql("SET TimeZone TO 'UTC'")
        yield postgres_url, connection, schema
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    engine.dispose()


@pytest.fixture(scope="module")
def mysql(mysql_url: str) -> Any:
    engine = sa.create_engine(sa.make_url(mysql_url).set(drivername="mysql+pymysql"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("SET time_zone = '+00:00'")
        yield mysql_url, connection
    engine.dispose()


def _filled(connection: sa.Connection, table: str, kind: str, values: list[tuple[str, str]], cast: str) -> str:
    """A query of `values` and null, in this order, out of a new table."""
    connection.exec_driver_sql(f"CREATE TABLE {table} (n int, v {kind})")
    insert = sa.text(f"INSERT INTO {table} VALUES (:n, {cast})")
    rows = [*(text for text, _ in values), None]
    connection.execute(insert, [{"n": n, "v": text} for n, text in enumerate(rows)])
    return f"SELECT v FROM {table} ORDER BY n"


@pytest.mark.parametrize("kind", POSTGRES)
def test_postgres(postgres: Any, kind: str) -> None:
    url, connection, schema = postgres
    table = f"{schema}.t_{uuid4().hex}"
    query = _filled(connection, table, kind, POSTGRES[kind], f"CAST(CAST(:v AS text) AS {kind})")
    settings = {"type": "sql", "url": url, "query": query}
    found = read(settings)
    assert _sent(found) == [*(text for _, text in POSTGRES[kind]), None]
    # COPY gives what a cursor would.
    with patch.object(Postgres, "cells", Database.cells):
        assert found.rows == read(settings).rows


@pytest.mark.parametrize("kind", MYSQL)
def test_mysql(mysql: Any, kind: str) -> None:
    url, connection = mysql
    table = f"t_{uuid4().hex}"
    try:
        query = _filled(connection, table, kind, MYSQL[kind], ":v")
        assert _sent(read({"type": "sql", "url": url, "query": query})) == [*(text for _, text in MYSQL[kind]), None]
    finally:
        connection.exec_driver_sql(f"DROP TABLE {table}")
