"""One table of a database as a query for a mapping."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from pydantic import SecretStr

from loader.errors import SourceError
from loader.settings import SqlSettings
from loader.sources.base import nearest
from loader.sources.databases import DATABASES
from loader.sources.sql import SqlSource

_WIDTH = 100


@dataclass(frozen=True)
class Table:
    """`query`: a SELECT of all columns by their names. `key`: the primary key, where it is one column of integers."""

    query: str
    key: str | None


def table(url: SecretStr, name: str) -> Table:
    """The table or view `name` (or `schema.name`) of the database at `url`. Raises SourceError."""
    # Opened as a source first: what is wrong with the URL or the database is said there, without the password.
    SqlSource(SqlSettings(type="sql", url=url, query="SELECT 1 AS one"), timezone=None, cursor=None).close()
    parsed = sa.make_url(url.get_secret_value())
    prepared, arguments = DATABASES[parsed.drivername.partition("+")[0]]().prepare(parsed)
    engine = sa.create_engine(prepared, connect_args=arguments)
    try:
        with engine.connect() as connection:
            return _described(sa.inspect(connection), name)
    except sa.exc.SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
        raise SourceError(f"the table {name} cannot be looked at: {cause[0]}") from None
    finally:
        engine.dispose()


def _described(inspector: sa.Inspector, name: str) -> Table:
    schema, _, short = name.rpartition(".")
    known = _names(inspector, None)
    if name in known or not schema:
        schema, short = "", name
    elif schema in inspector.get_schema_names():
        known = _names(inspector, schema)
    if short not in known:
        hint = nearest(short, known) if known else "it has none"
        raise SourceError(f"the database has no table '{name}'; {hint}")
    columns = inspector.get_columns(short, schema=schema or None)
    preparer = inspector.dialect.identifier_preparer
    listed = [preparer.quote(column["name"]).replace(":", r"\:") for column in columns]
    table = preparer.quote(short) if not schema else f"{preparer.quote(schema)}.{preparer.quote(short)}"
    keys = inspector.get_pk_constraint(short, schema=schema or None).get("constrained_columns", [])
    whole = [c["name"] for c in columns if keys == [c["name"]] and isinstance(c["type"], sa.Integer)]
    return Table(f"SELECT {_wrapped(listed)}\nFROM {table}", whole[0] if whole else None)


def _names(inspector: sa.Inspector, schema: str | None) -> list[str]:
    return [*inspector.get_table_names(schema=schema), *inspector.get_view_names(schema=schema)]


def _wrapped(names: list[str]) -> str:
    lines = [""]
    for name in names:
        if lines[-1] and len(lines[-1]) + len(name) > _WIDTH:
            lines.append("")
        lines[-1] += f"{name}, "
    return "\n       ".join(line.rstrip() for line in lines).removesuffix(",")
