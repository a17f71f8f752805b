"""A mapping written for a source that was read from end to end: types are proven, the rest is guessed and says so.

Pure: what goes in are the columns as `proof` has them and a provider, what comes out is YAML with comments. What
cannot be guessed is a placeholder, a column that is not there, which `loader check` reports with its position.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl
from pydantic import ValidationError

from loader.jsontype import DIGITS, JSON
from loader.mapping import guesses
from loader.mapping.expressions import parse, quote
from loader.mapping.proof import Column, words_of
from loader.providers.base import DestinationSettings, Provider

NO_USER = "NAME_THE_COLUMN_OF_THE_USER"
NO_TIME = "NAME_THE_COLUMN_OF_THE_TIME"

# Where comments begin.
_COMMENTS = 42
# Names of this length are taken by all providers.
_SHORT = 30
# Texts that YAML takes as they are, everywhere; and those that it takes outside of braces.
_PLAIN = re.compile(r"(?:[A-Za-z_]|\.{0,2}/)[\w./-]*(?: [\w./-]+)*", re.ASCII)
_PLAIN_URL = re.compile(r"[A-Za-z_$][\w${}./:@%?=&+-]*[\w}]", re.ASCII)
_WORDS_OF_YAML = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
_ESCAPES = {"\t": "\\t", "\n": "\\n", "\\": "\\\\", '"': '\\"'}
# Columns that name the event.
_EVENT_NAMES = (["event"], ["event", "name"], ["event", "type"], ["action"], ["activity"])


@dataclass(frozen=True)
class Found:
    """A source that was read. `source`: what stands under `source:`, in order. `origin`: what it is, in words.

    `name`: of its events. `rows`: all of them; `unread`: those that could not be read. `key`: a column of integers that
    grows with new rows, where the database says so.
    """

    source: Mapping[str, object]
    origin: str
    name: str
    columns: tuple[Column, ...]
    rows: int
    unread: int = 0
    key: str | None = None


@dataclass(frozen=True)
class Scaffold:
    """`text`: the mapping. `guesses`: field → what it was guessed to be, in words. `open`: what a person has to fill in
    before the mapping is right. `decide`: what a person should decide about."""

    text: str
    guesses: dict[str, str]
    open: tuple[str, ...]
    decide: tuple[str, ...]


@dataclass
class _Writer:
    """Lines of YAML with comments behind them."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str = "", comment: str = "") -> None:
        self.lines.append(f"{line:<{_COMMENTS - 2}}  # {comment}" if comment else line)

    def note(self, indent: int, words: str) -> None:
        self.lines.append(f"{' ' * indent}# {words}")


def scaffold(found: Found, provider: Provider, now: datetime) -> Scaffold:
    """The mapping from `found` to `provider`. `now`: what the provider's time window is held against."""
    columns = [column for column in found.columns if _can_be_named(column)]
    user = next(iter(guesses.users(columns)), None)
    identity = next(iter(guesses.ids(columns, user)), None)
    time = next((c for c in guesses.times(columns) if c is not user), None)
    unproven = guesses.unproven_time(columns) if time is None else None
    told: dict[str, str] = {}
    missing: list[str] = []
    decide: list[str] = []
    out = _Writer()
    out.note(0, f"Written by `loader init` from {_comment(found.origin, 100)}.")
    out.note(
        0, f"Types are proven over all {_rows(found.rows)}. Which column is what is guessed by its name: look it over."
    )
    if found.unread:
        out.note(0, f"{_rows(found.unread)} could not be read and will be rejected.")
    _source(out, found)
    properties, left_out = _properties(found.columns, provider, [c for c in (user, time) if c is not None])
    # A day has no zone, until it is a moment: the event's time.
    naive = [c for c in (time, *(p.column for p in properties if p.column.kind != "date")) if c is not None and c.naive]
    # A time that is not ISO 8601 has no zone as a rule; where its format has one, that counts.
    naive += [unproven] if unproven is not None else []
    if naive:
        names = ", ".join(dict.fromkeys(map(_shown, naive)))
        out.add()
        out.add("timezone: UTC", f"{names}: these times carry no zone. Name the one they are in, such as Europe/Paris")
        decide.append(f"timezone: {names} carries no zone; the mapping says UTC until you name the right one")
    if time is not None and time.nulls:
        out.add()
        condition = _yaml(f"{_sql(time)} IS NOT NULL")
        out.add(f"# where: {condition}", f"{_rows(time.nulls)} without a time: rejected, or filtered by this")
    out.add()
    out.add("event:")
    if identity is not None:
        proof = f"unique in all {_rows(found.rows)}"
        told["id"] = f"{_shown(identity)} ({proof})"
        out.add(f"  id: {_yaml(_sql(identity))}", f"{proof}; an event is delivered at most once")
    _user(out, found, user, told, missing)
    out.add(f"  name: {{const: {_yaml(_name(found.name))}}}", _name_comment(found.columns))
    told["name"] = f"'{_name(found.name)}' for every event"
    _time(out, time, unproven, told, missing)
    out.add("  properties:")
    for one in properties:
        out.add(f"    {_yaml(one.key, value=False)}: {one.value}", one.comment)
    if not properties:
        out.add(f"    source: {{const: {_yaml(found.name)}}}", "no column is left, and an event needs a property")
    for column, why in left_out:
        out.note(4, f"left out: {_shown(column)}: {why}")
    if left_out:
        names = ", ".join(_shown(column) for column, _ in left_out)
        decide.append(f"properties: {len(left_out)} left out, the file says why: {names}")
    _destination(out, provider, time, now, decide)
    return Scaffold("\n".join(out.lines) + "\n", told, tuple(missing), tuple(decide))


def _source(out: _Writer, found: Found) -> None:
    out.add("source:")
    for key, value in found.source.items():
        if isinstance(value, Mapping):
            members = ", ".join(f"{_yaml(name, value=False)}: {_yaml(str(kind))}" for name, kind in value.items())
            out.add(f"  {key}: {{{members}}}", "these columns hold values of several types")
        elif key == "query" and re.sub(r"[\n\t]", "", str(value)).isprintable():
            out.add(f"  {key}: |")
            out.lines += [f"    {line}".rstrip() for line in str(value).replace("${", "$${").splitlines()]
        else:
            out.add(f"  {key}: {_yaml(str(value), variables=key == 'url')}")
    if found.key is not None:
        lowest = next((c.lowest for c in found.columns if c.path == (found.key,)), None)
        initial = 0 if lowest is None or lowest > 0 else int(lowest) - 1
        condition = f"WHERE {_comment(quote(found.key))} > :cursor"
        out.note(2, f"To load only new rows each time, add {condition} to the query, and:")
        out.note(2, f"cursor: {{column: {_yaml(found.key)}, initial: {initial}}}")


def _user(out: _Writer, found: Found, user: Column | None, told: dict[str, str], missing: list[str]) -> None:
    if user is None:
        out.add(f"  user: {NO_USER}", "no column has a name that says so: whom did the event happen to?")
        missing.append("user: no column looks like a user; name one in the mapping")
        return
    words = []
    others = [_shown(c) for c in guesses.users(found.columns)[1:4]]
    if user.nulls:
        words.append(f"{_rows(user.nulls)} have none and are rejected")
    if others:
        words.append(f"also possible: {', '.join(others)}")
    out.add(f"  user: {_yaml(_sql(user))}", "; ".join(words))
    if user.whole:
        example = user.examples[0]
        better = f"REGEXP_REPLACE({_sql(user)}, '\\.0$', '')"
        out.note(2, f"Every value ends in .0, such as {example}. If the user is {example[:-2]}, write:")
        out.note(2, f"user: {_yaml(better)}")
    told["user"] = _shown(user) + (f" ({_rows(user.nulls)} have none)" if user.nulls else "")


def _time(out: _Writer, time: Column | None, unproven: Column | None, told: dict[str, str], missing: list[str]) -> None:
    if time is not None:
        comment = [f"e.g. {_comment(time.examples[0])}"] if time.examples else []
        if time.misfits:
            bad = f"{_rows(time.misfits)} are no times, such as '{_comment(time.misfit or '')}', and are rejected"
            comment.append(bad)
        value = f"{{expr: {_yaml(_sql(time), flow=True)}, unit: {time.unit}}}" if time.unit else _yaml(_sql(time))
        out.add(f"  time: {value}", "; ".join(comment))
        told["time"] = _shown(time) + (f" ({_rows(time.nulls)} have none)" if time.nulls else "")
    elif unproven is not None:
        name = _shown(unproven)
        value = f"{{expr: {_yaml(_sql(unproven), flow=True)}, format: '%d/%m/%Y %H:%M'}}"
        example = _comment((unproven.misfit or unproven.examples[0]) if unproven.examples else "")
        out.add(f"  time: {NO_TIME}", f"{name} is a time by its name, but {example} is not ISO 8601;")
        out.note(2, f"give its format, such as {value}, or take the time out")
        missing.append(f"time: {name} is a time by its name, but not in ISO 8601; give its format in the mapping")
    else:
        out.note(2, "time: no column holds times; without one, events happen for the provider when they are sent")
        told["time"] = "none: for the provider, events happen when they are sent"


@dataclass(frozen=True)
class _Property:
    column: Column
    key: str
    value: str
    comment: str


def _properties(
    columns: Sequence[Column], provider: Provider, used: Sequence[Column]
) -> tuple[list[_Property], list[tuple[Column, str]]]:
    """The properties, and the columns that cannot be any, with the reason."""
    limits = {limit.what: limit.value for limit in provider.routes[0].limits}
    most, longest = limits.get("attributes per event"), limits.get("text attribute")
    taken: list[_Property] = []
    left_out: list[tuple[Column, str]] = []
    for column in columns:
        if any(column is other for other in used):
            continue
        key, problem = _key(column, provider, {p.key for p in taken})
        sql = _sql(column)
        if column.kind == "never":
            problem = "binary values, spans of time and times without a zone inside of lists cannot be sent"
        elif not _can_be_named(column):
            problem = "its name cannot be written in SQL; rename it in the source"
        elif problem is None and most is not None and len(taken) == most:
            problem = f"{provider.title} takes {most} attributes per event"
        elif longest is not None and column.kind == "text" and column.longest > longest:
            cut = _comment(f"LEFT({sql}, {longest})")
            problem = f"texts of up to {column.longest} characters, {provider.title} takes {longest} ({cut} cuts them)"
        if problem is not None:
            left_out.append((column, problem))
        else:
            taken.append(_Property(column, key, _value(column), _examples(column)))
    return taken, left_out


def _key(column: Column, provider: Provider, taken: set[str]) -> tuple[str, str | None]:
    """A name for the property that the provider takes, as near to the column's as can be; or why there is none."""
    plain = "_".join(re.findall(r"[a-z0-9]+", " ".join(words_of(*column.path))))
    problem = "it has no name that can be printed"
    for key in ("_".join(column.path), plain, plain[:_SHORT].strip("_"), f"column_{plain}"[:_SHORT].strip("_")):
        if not key or not key.isprintable():
            continue
        problems = provider.routes[0].problems({f"properties.{key}": _dtype(column)})
        if not problems:
            return _untaken(key, taken), None
        problem = problems[0][1]
    return "", problem


def _untaken(key: str, taken: set[str]) -> str:
    number, free = 2, key
    while free in taken:
        number, free = number + 1, f"{key[: _SHORT - len(str(number)) - 1]}_{number}"
    return free


def _dtype(column: Column) -> pl.DataType:
    """A type that stands for the column's in the eyes of a provider."""
    shapes: dict[str, pl.DataType] = {"list": pl.List(pl.String), "json": JSON, "digits": DIGITS}
    return shapes.get(column.kind, pl.String())


def _value(column: Column) -> str:
    sql = _sql(column)
    if column.unit is not None:
        return f"{{expr: {_yaml(sql, flow=True)}, as: datetime, unit: {column.unit}}}"
    if not column.convert or column.misfits:
        return _yaml(sql)
    return f"{{expr: {_yaml(sql, flow=True)}, as: {column.kind}}}"


def _examples(column: Column) -> str:
    """What a person wants to see of the values. Free text may tell of people, and mappings are shared: not shown."""
    if not column.values:
        return "no row has a value"
    if column.kind == "text":
        return ", ".join(_comment(choice) for choice in column.choices)
    if column.kind in ("list", "json", "never"):
        return ""
    return f"e.g. {', '.join(_comment(example) for example in column.examples)}" if column.examples else ""


def _destination(out: _Writer, provider: Provider, time: Column | None, now: datetime, decide: list[str]) -> None:
    own = {key: f for key, f in provider.settings.model_fields.items() if key not in DestinationSettings.model_fields}
    needed = _needed(provider, list(own))
    out.add()
    out.add("destinations:")
    out.add(f"  - provider: {provider.name}")
    lines = {key: f"{'' if key in needed else '# '}{key}: ${{{provider.name.upper()}_{key.upper()}}}" for key in own}
    width = max(map(len, lines.values()), default=0)
    for key, setting in own.items():
        out.add(f"    {lines[key]:<{width}}", setting.description or "")
    window = provider.routes[0].window
    if window is None or time is None or time.first is None or time.last is None:
        return
    if window.past is None:
        what = f"{provider.title} has no field for a time"
        out.note(4, f"{what}: events happen for it when they are sent. Say whether that is right:")
        out.note(4, "omit_time (sent as happening now) or reject. Until then the plan stops and nothing is sent.")
        out.note(4, "late_events: omit_time")
        decide.append(f"late_events: {what}; nothing is sent until you decide")
        return
    earliest = now - timedelta(seconds=window.past)
    if time.first < earliest or time.last > now:
        span = f"{time.first:%Y-%m-%d} to {time.last:%Y-%m-%d}"
        hours = f"the last {window.past / 3600:g} hours"
        out.note(4, f"{provider.title} takes events of {hours}; these are of {span}. Say what to do with the others:")
        out.note(4, "reject, omit_time (sent as happening now) or send. Until then the plan stops and nothing is sent.")
        out.note(4, "late_events: omit_time")
        what = f"the events are of {span}, {provider.title} takes {hours}"
        decide.append(f"late_events: {what}; nothing is sent until you decide")


def _needed(provider: Provider, own: Sequence[str]) -> list[str]:
    """The fewest of the provider's own settings, from the first on, that it is content with."""
    required = [key for key in own if provider.settings.model_fields[key].is_required()]
    optional = [key for key in own if key not in required]
    for count in range(len(optional) + 1):
        keys = [*required, *optional[:count]]
        try:
            provider.settings.model_validate({"provider": provider.name, **dict.fromkeys(keys, "x")})
        except ValidationError:
            continue
        return keys
    return required


def _name(name: str) -> str:
    plain = "_".join(words_of(name)).encode("ascii", "ignore").decode().strip("_")
    return plain[:_SHORT].strip("_") or "event"


def _name_comment(columns: Sequence[Column]) -> str:
    named = (c for c in columns if c.kind == "text" and not c.nulls and c.words in _EVENT_NAMES)
    column = next(named, None)
    if column is None:
        return "what happened, such as purchase"
    return f"or the column: name: {_comment(_yaml(_sql(column)))}"


def _sql(column: Column) -> str:
    """The column as SQL; a plain word where polars takes it for the column, in quotes elsewhere."""
    plain = ".".join(quote(name) for name in column.path)
    expression = parse(plain)[0]
    if expression is not None and expression.meta.root_names() == [column.path[0]]:
        return plain
    return ".".join('"' + name.replace('"', '""') + '"' for name in column.path)


def _can_be_named(column: Column) -> bool:
    """Whether SQL means this column by its name: polars reads some, such as `*` and `^a.*$`, as patterns."""
    expression = parse(_sql(column))[0]
    if expression is None or expression.meta.has_multiple_outputs():
        return False
    return expression.meta.root_names() == [column.path[0]]


def _yaml(text: str, *, value: bool = True, flow: bool = False, variables: bool = False) -> str:
    """`text` as a YAML scalar. `${` starts a variable in values only, where it is meant with `variables` alone.

    `flow`: it stands inside of braces.
    """
    if value and not variables:
        text = text.replace("${", "$${")
    plain = _PLAIN.fullmatch(text) or (variables and not flow and _PLAIN_URL.fullmatch(text))
    if plain and text.lower() not in _WORDS_OF_YAML:
        return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(_ESCAPES.get(c, c if c.isprintable() else f"\\U{ord(c):08x}") for c in text) + '"'


def _shown(column: Column) -> str:
    """The name of a column for a person."""
    return _comment(".".join(column.path))


def _comment(text: str, most: int = 40) -> str:
    """`text` in a comment: one line of printable characters, not too long."""
    flat = "".join(c if c.isprintable() else " " for c in text)
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"
