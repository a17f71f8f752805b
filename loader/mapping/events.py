"""`event:` or `customer:` blocks → the fields of a destination's event, checked as far as it goes without columns."""

from __future__ import annotations

from collections.abc import Iterator

from loader.mapping.document import Document, Node, Place, step
from loader.mapping.expressions import near, parse
from loader.mapping.language import Becomes, Event, EventValue, Kind
from loader.mapping.models import EventBlock, Value
from loader.providers.base import Provider

_COMMON: dict[str, Kind] = {"id": "text", "user": "text", "name": "text", "time": "time"}
_TIMES = ("datetime", "date")
_CUSTOMER = ["user", "ids", "time", "properties"]
# Fields that events have and customers have not → why.
EVENTS_ALONE = {
    "id": "a customer has no `id`: an update may be delivered again",
    "name": "a customer has no `name`: an update is no event",
}


class EventReader:
    """Makes the events of one document; what is wrong becomes problems of the document."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def merge(
        self, kind: Becomes, provider: Provider, shared: EventBlock | None, own: EventBlock | None, path: Place
    ) -> Event:
        """The event or customer of the destination at `path`: the fields of `shared`, replaced and added to by `own`.

        Maps of properties merge key by key; a list, `"*"` and `ids` replace.
        """
        fields: dict[str, EventValue] = {}
        every: Node | None = None
        for block, base in ((shared, (kind,)), (own, (*path, kind))):
            if block is None:
                continue
            at = self.document.find(base)
            for field in self._fields(kind, provider, block, at):
                fields[field.name] = field
            if block.ids is not None:
                _keep(fields, "ids.", block.ids)
            if block.properties is not None:
                shape = block.properties
                if not isinstance(shape, dict) or every is not None or _is_list(shared):
                    _keep(fields, "properties.", shape if not isinstance(shape, str) else ())
                every = at.get("properties") if shape == "*" else None
        self._required(kind, path)
        ordered = sorted(fields.values(), key=lambda field: (field.node.line, field.node.column))
        return Event(kind, tuple(ordered), every)

    def _fields(self, becomes: Becomes, provider: Provider, block: EventBlock, at: Node) -> Iterator[EventValue]:
        for name, kind in _COMMON.items():
            value: Value | None = getattr(block, name)
            if value is None:
                continue
            if becomes == "customer" and name in EVENTS_ALONE:
                self.document.problem(_key(at, name), f"{EVENTS_ALONE[name]}; its fields are {', '.join(_CUSTOMER)}")
            else:
                yield self._field(name, kind, [value], [_member(at, name)])
        for name, value in (block.ids or {}).items():
            holder = _member(at, "ids")
            if provider.id_types is not None and name not in provider.id_types:
                known = ", ".join(provider.id_types)
                hint = f"its types are {known}" if known else "it knows users by `user` alone"
                self.document.problem(_key(holder, name), f"{provider.name} has no id type '{name}'; {hint}")
            yield self._field(f"ids.{name}", "text", [value], [_member(holder, name)])
        yield from self._own_fields(becomes, provider, block, at)
        properties = _member(at, "properties")
        if isinstance(block.properties, dict):
            for name, value in block.properties.items():
                yield self._field(f"properties.{name}", "property", [value], [_member(properties, name)])
        elif isinstance(block.properties, list):
            for name, item in zip(block.properties, properties.items, strict=False):
                column = Value(expr='"' + name.replace('"', '""') + '"')
                yield self._field(f"properties.{name}", "property", [column], [item])

    def _own_fields(self, becomes: Becomes, provider: Provider, block: EventBlock, at: Node) -> Iterator[EventValue]:
        """The provider's own fields of an event."""
        own = block.__pydantic_extra__ or {}
        for name in [name for name in at.members if name not in EventBlock.model_fields]:
            who, known = "a customer", _CUSTOMER
            if becomes == "event":
                who, known = provider.name, ["id", "user", "ids", "name", "time", "properties", *provider.fields]
            if name not in known:
                close = near(name, known)
                hint = f"did you mean '{close}'? " if close else ""
                self.document.problem(
                    _key(at, name), f"{who} has no field '{name}'; {hint}its fields are {', '.join(known)}"
                )
                continue
            if name not in own:
                continue
            given, node, kind = own[name], _member(at, name), provider.fields[name].kind
            values = given if isinstance(given, list) else [given]
            if isinstance(given, list) and kind == "text":
                self.document.problem(node, f"'{name}' takes one text, found a list")
            elif isinstance(given, list) and not given:
                self.document.problem(node, f"'{name}' needs at least one value")
            else:
                members = isinstance(given, list)
                yield self._field(name, kind, values, node.items if members else [node], members)

    def _field(
        self, name: str, kind: Kind, values: list[Value], nodes: list[Node], members: bool = False
    ) -> EventValue:
        field = EventValue(name, kind, tuple(values), tuple(nodes), members)
        for value, node in zip(values, nodes, strict=True):
            self._check(value, field.value_kind, node)
        return field

    def _check(self, value: Value, kind: Kind, node: Node) -> None:
        if value.expr is not None:
            self.check_expression(value.expr, expression_node(node))
        for option, message in _misused(value, kind):
            self.document.problem(_member(node, option), message)

    def check_expression(self, sql: str, node: Node) -> None:
        """Report what is wrong with the expression that stands at `node`."""
        for finding in parse(sql)[1]:
            self.document.problem_in(node, finding.part, finding.offset, finding.message)

    def _required(self, kind: Becomes, path: Place) -> None:
        """Every event needs a name and somebody it happened to; a customer needs to be somebody."""
        blocks = [step(self.document.root, kind), step(self.document.find(path), kind)]
        given = {key for block in blocks if block is not None for key in block.members}
        at = next((block for block in blocks if block is not None), None)
        if at is None:
            return
        if kind == "event" and "name" not in given:
            self.document.problem(at, "'name' is missing; a fixed name is written name: {const: purchase}")
        if not given & {"user", "ids"}:
            why = "to whom the event happened" if kind == "event" else "whose profile is updated"
            self.document.problem(at, f"'user' is missing; it says {why}")


def expression_node(node: Node) -> Node:
    """Where the SQL of a value stands."""
    return node.get("expr") or node


def _is_list(block: EventBlock | None) -> bool:
    return block is not None and isinstance(block.properties, list)


def _keep(fields: dict[str, EventValue], prefix: str, names: object) -> None:
    """Drop the fields with `prefix` whose names are not among `names`."""
    kept = {f"{prefix}{name}" for name in names} if isinstance(names, (dict, list)) else set()
    for name in [name for name in fields if name.startswith(prefix) and name not in kept]:
        del fields[name]


def _member(node: Node, key: str) -> Node:
    return node.get(key) or node


def _key(node: Node, key: str) -> Node:
    return node.members[key][0] if key in node.members else node


def _misused(value: Value, kind: Kind) -> Iterator[tuple[str, str]]:
    """Options that cannot do anything here: (option, what is wrong)."""
    given = value.model_fields_set
    timely = kind == "time" or value.as_ in _TIMES
    if "const" in given:
        if kind in ("text", "time") and isinstance(value.const, (list, dict, float)):
            what = "a number with a fraction; put it in quotes" if isinstance(value.const, float) else "a list or a map"
            yield "const", f"expected text, found {what}"
        if kind == "time" and isinstance(value.const, (bool, int)):
            yield "const", "a time is written as text, such as {const: 2026-03-01T12:30:00Z}"
        if kind == "list" and not (isinstance(value.const, list) and all(isinstance(v, str) for v in value.const)):
            yield "const", "expected a list of texts"
        return
    if kind == "list" and (options := given - {"expr"}):
        yield min(options).rstrip("_"), "a list takes no options; write the list's members one by one"
        return
    if value.format is not None and not timely:
        yield "format", "`format` is for times; add as: datetime or as: date"
    if value.unit is not None and not (kind == "time" or value.as_ == "datetime"):
        yield "unit", "`unit` is for times; add as: datetime"
    if value.unit is not None and value.format is not None:
        yield "unit", "expected either `unit` (of a number) or `format` (of a text), found both"
    if value.timezone is not None and kind != "time" and value.as_ not in (None, "datetime"):
        yield "timezone", "`timezone` is for times; add as: datetime"
    if kind == "time" and value.as_ not in (None, *_TIMES):
        yield "as", f"a time cannot be as: {value.as_}; leave it out (numbers need their `unit`)"
    if kind == "time" and value.hash is not None:
        yield "hash", "a time cannot be a hash"
    if value.lookup is not None and value.as_ != "text":
        kinds = {_kind(v) for v in value.lookup.values() if v is not None}
        if len(kinds) > 1:
            found = " and ".join(sorted(kinds))
            yield "lookup", f"the values of a lookup are of one kind, found {found}; put them in quotes"


def _kind(value: object) -> str:
    return "booleans" if isinstance(value, bool) else "text" if isinstance(value, str) else "numbers"
