"""Which columns of a source are the user, the identity and the time of an event: guessed by name, allowed by proof."""

from __future__ import annotations

import re
from collections.abc import Sequence

from loader.mapping.proof import Column, names_a_time, names_an_id

_PEOPLE = {
    *("customer", "user", "client", "member", "subscriber", "contact", "person", "profile", "visitor", "account"),
    *("buyer", "recipient", "kunde", "kunden"),
}
_ONE_WORD = {"uid", "userid", "customerid", "clientid", "memberid", "contactid", "subscriberid", "profileid"}
_NAMES = {"username", "login", "nickname"}
_EVENT_TIMES = {"event", "occurred", "happened"}
_CHANGED = {"updated", "modified", "changed", "deleted", "imported", "exported", "loaded", "synced", "last"}
_AHEAD = {"expires", "expiry", "expiration", "valid", "until", "due", "end", "birth", "birthday", "dob", "next"}
_CLOCKS = {"timestamp", "time", "ts", "datetime", "at"}


def users(columns: Sequence[Column]) -> list[Column]:
    """The columns that may be the user, the likeliest first."""
    ranked = [(rank, at, c) for at, c in enumerate(columns) if (rank := _user(c)) is not None]
    return [column for _, _, column in sorted(ranked, key=lambda entry: entry[:2])]


def _user(column: Column) -> int | None:
    words = column.words
    if column.kind not in ("text", "integer", "decimal", "number") or column.unit or not column.values:
        return None
    people = _PEOPLE & set(words)
    if words[-1:] and words[-1] in _ONE_WORD:
        return 0
    if people and names_an_id(words):
        return 0 if {"customer", "user"} & people else 1
    if people and len(words) == 1:
        return 2
    if {"email", "mail"} & set(words) and column.at_sign:
        return 3
    if _NAMES & set(words):
        return 4
    return None


def ids(columns: Sequence[Column], user: Column | None) -> list[Column]:
    """The columns that may be the identity of an event, the likeliest first: unique over the whole source."""
    ranked = [
        (_identity(column.words), at, column)
        for at, column in enumerate(columns)
        if column.unique
        and column is not user
        and not column.timely
        and column.kind in ("text", "integer")
        and names_an_id(column.words)
        and not _PEOPLE & set(column.words)
    ]
    return [column for _, _, column in sorted(ranked, key=lambda entry: entry[:2])]


def _identity(words: list[str]) -> int:
    if "event" in words:
        return 0
    return 1 if words[-1].endswith("id") else 2


def times(columns: Sequence[Column]) -> list[Column]:
    """The columns that are times, the likeliest time of an event first."""
    found = [(*_time(column), at, column) for at, column in enumerate(columns) if column.timely and column.values]
    return [entry[-1] for entry in sorted(found, key=lambda entry: entry[:-1])]


def _time(column: Column) -> tuple[int, bool, int]:
    words = column.words
    if _AHEAD & set(words):
        rank = 5
    elif _EVENT_TIMES & set(words):
        rank = 0
    elif len(words) == 1 and words[0] in _CLOCKS:
        rank = 1
    elif _CHANGED & set(words):
        rank = 4
    else:
        rank = 2 if names_a_time(words) else 3
    # Among equals a moment tells more than a day, and a column without gaps more than one with gaps.
    return rank, column.kind == "date", column.nulls


def unproven_time(columns: Sequence[Column]) -> Column | None:
    """A column that is a time by its name, and whose values are none that the loader knows."""
    for column in columns:
        named = names_a_time(column.words) and not _AHEAD & set(column.words)
        # Monday is no time that could be placed; 01/12/2010 is.
        dated = any(len(re.findall("[0-9]", text)) >= 4 for text in column.examples)
        if named and dated and column.kind in ("text", "integer", "decimal") and not column.timely:
            return column
    return None
