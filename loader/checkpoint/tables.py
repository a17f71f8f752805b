"""The tables of the checkpoint; what their columns mean stands in `loader.checkpoint`."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping

VERSION = 5

# A row of one of the tables, by the names of its columns.
Row = RowMapping

metadata = sa.MetaData()


def _table(name: str, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(name, metadata, *columns)


def _key(name: str, type_: type[sa.types.TypeEngine[Any]] = sa.Text) -> sa.Column[Any]:
    return sa.Column(name, type_, primary_key=True, autoincrement=False)


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text)


def _number(name: str, default: int | None = 0) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, default=default)


meta = _table("meta", _key("version", sa.Integer), _text("mapping"))
runs = _table(
    "runs",
    _key("run"),
    *(_text(name) for name in ("of", "mapping", "mapping_digest", "created", "finished", "status")),
    *(_number(name) for name in ("rows_read", "rows_filtered", "rows_rejected", "events")),
    _text("plan_digest"),
    sa.Column("seconds", sa.Float, default=0.0),
    sa.Column("again", sa.Boolean, default=False),
)
destinations = _table(
    "destinations",
    _key("run"),
    _key("destination"),
    *(_text(name) for name in ("provider", "route", "in_doubt")),
    *(_number(name) for name in ("position", "events", "already_delivered", "rejected", "bytes")),
)
chunks = _table(
    "chunks",
    _key("run"),
    _key("destination"),
    _key("start", sa.BigInteger),
    *(_number(name) for name in ("number", "events", "part", "first_row", "last_row")),
    _text("status"),
    sa.Column("doubted", sa.Boolean, default=False),
    _number("attempts"),
    _number("refused"),
    *(_text(name) for name in ("token", "message", "changed")),
)
refusals = _table(
    "refusals",
    _key("run"),
    _key("destination"),
    _key("row", sa.BigInteger),
    _text("reason"),
    _text("message"),
    _text("retried"),
    _text("written"),
)
planned = _table("planned", _key("run"), _key("destination"), _key("reason"), _number("count"))
files = _table(
    "files",
    _key("destination"),
    _key("digest"),
    _key("run"),
    _text("path"),
    *(_number(name) for name in ("size", "mtime_ns", "inode")),
    _number("first_row"),
    _number("rows"),
)
ids = _table("ids", _key("destination"), _key("id"), _key("run"), _number("row"))
cursors = _table(
    "cursors", _key("number", sa.BigInteger), *(_text(name) for name in ("run", "column", "value", "changed"))
)
endings = _table("endings", _key("run"), _text("at"), _number("exit", None), _text("message"))
sa.Index("ids_by_row", ids.c.run, ids.c.destination, ids.c.row)
