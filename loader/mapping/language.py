"""A mapping file as the rest of the loader sees it: the source, and each destination with its own event."""

from __future__ import annotations

from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from loader.mapping.document import Document, Node
from loader.mapping.expressions import parse
from loader.mapping.models import Value
from loader.providers.base import DestinationSettings, Provider, Route
from loader.settings import SourceSettings

# `text`, `list` (of texts), `time`; `property`: any type that JSON has.
Kind = Literal["text", "list", "time", "property"]
# What a row becomes: something that happened to a user, or an update of the user's profile.
Becomes = Literal["event", "customer"]
BECOMES: tuple[Becomes, ...] = ("event", "customer")


@dataclass(frozen=True)
class EventValue:
    """One field of an event. `name`: its column in a frame of events, such as `user` or `properties.total`.

    `values`: one, or with `members` the texts of a list. `nodes`: where each stands in the file.
    """

    name: str
    kind: Kind
    values: tuple[Value, ...]
    nodes: tuple[Node, ...] = field(repr=False)
    members: bool = False

    @property
    def value_kind(self) -> Kind:
        """What each of the values has to be."""
        return "text" if self.members else self.kind

    @property
    def node(self) -> Node:
        """Where the field's value stands."""
        return self.nodes[0]


@dataclass(frozen=True)
class Event:
    """What a row becomes for one destination: the shared `event:` or `customer:` with the destination's own.

    `kind`: which of them it is; a customer has neither `id` nor `name`, and counts as an event everywhere else.
    `all_columns`: where `properties: "*"` stands, if it does.
    """

    kind: Becomes
    fields: tuple[EventValue, ...]
    all_columns: Node | None = None

    def has(self, name: str) -> bool:
        """Whether the field is mapped."""
        return any(field.name == name for field in self.fields)


@dataclass(frozen=True)
class Destination:
    """One provider with credentials. `settings` are the provider's own, checked."""

    name: str
    provider: Provider
    route: Route
    settings: DestinationSettings
    event: Event
    node: Node = field(repr=False)


@dataclass(frozen=True)
class Mapping:
    """A mapping file, read and checked as far as it can be without the columns of its source.

    `path`: absolute. `name`: the file's without its ending. `digest`: SHA-256 (hex) of the file's bytes. `source`: its
    paths are absolute. `timezone`: the zone of times that carry none. `where`: a SQL condition.
    """

    path: Path
    name: str
    digest: str
    source: SourceSettings
    timezone: str | None
    where: EventValue | None
    destinations: tuple[Destination, ...]
    document: Document = field(repr=False)

    @property
    def has_ids(self) -> bool:
        """Whether every event has an `id`, so that none is delivered twice whatever is read."""
        return all(d.event.has("id") for d in self.destinations)

    @property
    def tells_new_rows(self) -> bool:
        """Whether new rows can be told from old ones when the source is read again: by a cursor, or by `event.id`."""
        return self.source.cursor is not None or self.has_ids

    def destination(self, planned: AbstractMapping[Any, Any]) -> Destination | None:
        """The destination for which `planned` (a row of the checkpoint's `destinations`) was planned, or None."""
        for now in self.destinations:
            if (now.name, now.provider.name, now.route.name) == (
                planned["destination"],
                planned["provider"],
                planned["route"],
            ):
                return now
        return None

    def used_columns(self) -> set[str] | None:
        """The columns that the mapping and the cursor use; None for all."""
        if any(destination.event.all_columns for destination in self.destinations):
            return None
        fields = [field for destination in self.destinations for field in destination.event.fields]
        used = roots([*fields, *([self.where] if self.where else [])])
        if self.source.cursor is not None:
            used.add(self.source.cursor.column)
        return used


def roots(fields: list[EventValue]) -> set[str]:
    """The columns that the expressions of `fields` use."""
    used: set[str] = set()
    for one in fields:
        for value in one.values:
            expression = parse(value.expr)[0] if value.expr is not None else None
            if expression is not None:
                used.update(expression.meta.root_names())
    return used
