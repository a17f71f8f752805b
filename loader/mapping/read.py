"""A mapping file → `Mapping`, or every problem of it at once."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping as AbstractMapping
from pathlib import Path
from typing import Any, Literal

from loader.errors import MappingError, UsageError
from loader.mapping import yaml
from loader.mapping.document import Document, Node, Place, kind_of, step
from loader.mapping.environment import expand
from loader.mapping.events import EventReader
from loader.mapping.expressions import near
from loader.mapping.language import BECOMES, Becomes, Destination, EventValue, Mapping
from loader.mapping.models import EventBlock, MappingFile, Value
from loader.mapping.paths import resolve_source
from loader.mapping.problems import validate
from loader.providers import PROVIDERS
from loader.providers.base import DestinationSettings, Provider, Route
from loader.settings import SqlSettings

# Provider name → values that replace keys of its destinations. `KEY_2` is for the provider's second destination.
StandIns = AbstractMapping[str, AbstractMapping[str, str]]

PLACEHOLDER = "not-set"


def read(
    path: Path,
    *,
    credentials: Literal["required", "optional"] = "required",
    stand_ins: StandIns | None = None,
    env: AbstractMapping[str, str] | None = None,
) -> Mapping:
    """Read and check a mapping file.

    `credentials`: with "optional", environment variables may be missing in the credentials of destinations (for
    commands that send nothing). `stand_ins` replace keys of destinations before anything else looks at them: base URLs
    and required keys always, other credentials where the destination has them; a destination whose provider has none is
    a problem. `env`: default `os.environ`.
    Raises `MappingError` with all problems, `UsageError` where there is no such file.
    """
    document = yaml.parse(str(path), raw := _bytes(path))
    environment = os.environ if env is None else env
    destinations = _destination_nodes(document)
    if stand_ins is not None:
        _stand_in_all(document, destinations, stand_ins, environment)
    placeholders: list[Node] = []
    if credentials == "optional":
        placeholders = [value for node in destinations for value in _credentials(node, environment)]
    yaml.expand_environment(document, environment, placeholders, PLACEHOLDER)
    return _Reader(document).mapping(path, hashlib.sha256(raw).hexdigest())


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(yaml.MAX_BYTES + 1)
    except OSError as error:
        others = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        close = near(path.name, others)
        hint = f"; did you mean {path.parent / close}?" if close else ""
        raise UsageError(f"the mapping {path} cannot be read: {error.strerror or error}{hint}") from None


def _destination_nodes(document: Document) -> list[Node]:
    listed = document.root.get("destinations")
    return [node for node in listed.items if node.kind == "map"] if listed is not None else []


def _provider_name(node: Node, env: AbstractMapping[str, str]) -> str | None:
    name = node.get("provider")
    return expand(name.text, env).text if name is not None and name.kind == "scalar" else None


def _credentials(node: Node, env: AbstractMapping[str, str]) -> list[Node]:
    """The values of a destination's credentials: the keys that only its provider has."""
    provider = PROVIDERS.get(_provider_name(node, env) or "")
    if provider is None:
        return []
    keys = set(provider.settings.model_fields) - set(DestinationSettings.model_fields) | set(provider.secrets)
    return [value for key, (_, value) in node.members.items() if key in keys]


def _stand_in_all(
    document: Document, destinations: list[Node], stand_ins: StandIns, env: AbstractMapping[str, str]
) -> None:
    numbers: Counter[str] = Counter()
    for node in destinations:
        name = _provider_name(node, env)
        if name is None or name not in PROVIDERS:
            continue
        if name in stand_ins:
            numbers[name] += 1
            _stand_in(node, PROVIDERS[name], stand_ins[name], numbers[name])
        else:
            # Left as it is, a rehearsal would send to the provider itself.
            message = f"the sandbox has no stand-in for '{name}', only for {', '.join(stand_ins)}; "
            message += "to rehearse with it, give it a `base_url` of your own and leave out --sandbox"
            document.problem(node.get("provider") or node, message)


def _stand_in(node: Node, provider: Provider, values: AbstractMapping[str, str], number: int) -> None:
    """Put stand-in settings into the `number`-th destination of its provider."""
    for key in values:
        if re.sub(r"_\d+$", "", key) in values and re.search(r"_\d+$", key):
            continue
        field = provider.settings.model_fields[key]
        if key in node.members or key in DestinationSettings.model_fields or field.is_required():
            value = values.get(f"{key}_{number}", values[key])
            at = node.members[key][0] if key in node.members else node
            stand_in = Node("scalar", at.line, at.column, at.start, at.end, value, tag="str", stand_in=True)
            node.members[key] = (at, stand_in)


def _unknown_provider(given: Node | None, name: object) -> str:
    known = ", ".join(PROVIDERS)
    if given is None:
        return f"'provider' is missing; one of {known}"
    if not isinstance(name, str):
        return f"expected a provider's name, found {kind_of(given)}; one of {known}"
    close = near(name, list(PROVIDERS))
    return f"no provider '{name}'; " + (f"did you mean '{close}'?" if close else f"the providers are {known}")


class _Reader:
    """Reads one document; problems gather in it until `mapping` raises them."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.events = EventReader(document)

    def mapping(self, path: Path, digest: str) -> Mapping:
        document = self.document
        data = document.root.plain_data()
        # Events are checked with their destinations, so that a wrong part hides nothing.
        top = validate(MappingFile, data, document)
        shared = self._becomes(document.root)
        where = self._where()
        if shared is None and not all(set(BECOMES) & set(node.members) for node in _destination_nodes(document)):
            document.problem(document.root, "'event' (or 'customer') is missing")
        destinations = [
            self._destination(index, item, shared)
            for index, item in enumerate(data["destinations"] if isinstance(data.get("destinations"), list) else [])
        ]
        complete = [destination for destination in destinations if destination is not None]
        self._unique_names(complete)
        if top is not None:
            self._cursor(top, complete)
        document.stop()
        if top is None:  # pragma: no cover - what the models refuse is a problem
            raise MappingError([])
        absolute = path.absolute()
        source = resolve_source(top.source, absolute.parent)
        return Mapping(absolute, path.stem, digest, source, top.timezone, where, tuple(complete), document)

    def _becomes(self, node: Node) -> Becomes | None:
        """Which of `event:` and `customer:` stands in `node`; both are a problem."""
        given = [kind for kind in BECOMES if kind in node.members]
        if len(given) > 1:
            first, second = sorted((node.members[kind][0] for kind in given), key=lambda key: key.start)
            message = f"a row becomes an event or a customer; '{first.text}' stands on line {first.line} already"
            self.document.problem(second, message)
        return given[0] if given else None

    def _block(self, path: Place) -> EventBlock | None:
        """The `event:` or `customer:` at `path`, without its wrong parts (which are reported where it is checked)."""
        node = self.document.find(path)
        if step(self.document.find(path[:-1]), path[-1]) is None or node.kind != "map":
            return None
        quiet = Document("", "", self.document.root)
        return validate(EventBlock, node.plain_data(), quiet)

    def _where(self) -> EventValue | None:
        node = self.document.root.get("where")
        if node is None or node.kind != "scalar" or not isinstance(node.plain_data(), str) or not node.text:
            return None
        where = EventValue("where", "property", (Value(expr=node.text),), (node,))
        self.events.check_expression(node.text, node)
        return where

    def _destination(self, index: int, item: Any, shared: Becomes | None) -> Destination | None:
        document, path = self.document, ("destinations", index)
        node = document.find(path)
        if not isinstance(item, dict):
            return None
        name = item.get("provider")
        if not isinstance(name, str) or name not in PROVIDERS:
            document.problem(node.get("provider") or node, _unknown_provider(node.get("provider"), name))
            return None
        provider = PROVIDERS[name]
        for block in BECOMES:
            if block in item:
                validate(EventBlock, item[block], document, (*path, block))
        own = self._becomes(node)
        kind: Becomes = shared or own or "event"
        if own not in (None, kind):
            words = f"the mapping makes {kind}s, so that a destination adds to `{kind}:`; where they differ, "
            words += "each destination has a block of its own, and the mapping has none"
            document.problem(node.members[own][0], words)
        rest = {key: value for key, value in item.items() if key not in BECOMES}
        settings = validate(provider.settings, rest, document, path, extra=BECOMES)
        event = self.events.merge(kind, provider, self._block((kind,)), self._block((*path, kind)), path)
        route = self._route(provider, settings, path)
        if route is not None and (shared or own):
            self._takes(provider, route, kind, node)
        if settings is None or route is None:
            return None
        if settings.late_events == "send" and route.window is not None and route.window.past is None:
            words = f"{provider.name} has no field for a time, so that no event can be sent with one; "
            words += "choose omit_time (sent as happening now) or reject"
            document.problem(document.find((*path, "late_events")), words)
        return Destination(settings.name or provider.name, provider, route, settings, event, node)

    def _takes(self, provider: Provider, route: Route, kind: Becomes, node: Node) -> None:
        """Report a route that does not take what the mapping makes, with those that do."""
        if kind in route.takes:
            return
        able = []
        for other in PROVIDERS.values():
            routes = [one.name for one in other.routes if kind in one.takes]
            if routes:
                able.append(f"{other.name} (route {' or '.join(routes)})")
        where = f"; it goes to {' or '.join(able)}" if able else ""
        self.document.problem(node, f"{provider.name} (route {route.name}) takes no `{kind}:`{where}")

    def _route(self, provider: Provider, settings: DestinationSettings | None, path: Place) -> Route | None:
        name = settings.route if settings is not None else None
        routes = {route.name: route for route in provider.routes}
        if name is not None and name not in routes:
            listed = ", ".join(routes)
            self.document.problem(
                self.document.find((*path, "route")), f"{provider.name} has no route '{name}'; it has {listed}"
            )
            return None
        route = provider.route(name)
        if settings is not None:
            route = route.under(settings)
        chunk = settings.chunk if settings is not None else None
        if chunk is not None and chunk > route.events_per_call:
            pages = [limit.page for limit in route.limits if limit.value == route.events_per_call]
            page = f" ({pages[0]})" if pages else ""
            events = "1 event" if route.events_per_call == 1 else f"{route.events_per_call} events"
            message = f"{provider.name} takes at most {events} per call{page}"
            self.document.problem(self.document.find((*path, "chunk")), message)
        return route

    def _unique_names(self, destinations: list[Destination]) -> None:
        seen: dict[str, Destination] = {}
        for destination in destinations:
            first = seen.setdefault(destination.name.casefold(), destination)
            if first is not destination:
                node = destination.node.get("name") or destination.node
                where = f"the destination on line {first.node.line} has the name '{first.name}' already"
                self.document.problem(node, f"{where}; give this one another `name`")

    def _cursor(self, top: MappingFile, destinations: list[Destination]) -> None:
        """What a cursor needs from the rest of the mapping."""
        document, source = self.document, top.source
        cursor = source.cursor
        if isinstance(source, SqlSettings):
            uses = re.search(r"(?<![:\w]):cursor\b", source.query) is not None
            query = document.find(("source", "query"))
            if cursor is None and uses:
                document.problem(query, "the query uses :cursor, but the source has no `cursor`")
            if cursor is not None and not uses:
                document.problem(
                    query,
                    f"the source has a cursor, but the query does not use it; such as WHERE {cursor.column} > :cursor",
                )
            if cursor is not None and cursor.initial is None:
                document.problem(
                    document.find(("source", "cursor")), "'initial' is missing; the first run needs a value for :cursor"
                )
        if cursor is not None and cursor.lag is not None and any(not d.event.has("id") for d in destinations):
            at = document.find(("source", "cursor", "lag"))
            hint = "; a customer has no `id`" if any(d.event.kind == "customer" for d in destinations) else ""
            document.problem(at, f"`lag` reads rows again; without `event.id` they would be sent twice{hint}")
