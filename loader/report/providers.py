"""Providers as people and machines read them: settings, routes with their limits, fields of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loader.providers.base import Provider, Route
from loader.report.words import plural, table


def as_json(provider: Provider) -> dict[str, Any]:
    """For `--json`. `required`: whether the mapping must give the setting."""
    return {
        "name": provider.name,
        "title": provider.title,
        "base_url": provider.base_url,
        "routes": [_route(route) for route in provider.routes],
        "settings": [
            {"name": name, "required": field.is_required(), "description": field.description}
            for name, field in _ordered(provider)
        ],
        "fields": [
            {"name": name, "kind": field.kind, "description": field.description}
            for name, field in provider.fields.items()
        ],
        "user": provider.user,
        "id_types": None if provider.id_types is None else list(provider.id_types),
    }


def _route(route: Route) -> dict[str, Any]:
    return {
        "name": route.name,
        "takes": sorted(route.takes, reverse=True),
        "events_per_call": route.events_per_call,
        "users_per_call": route.users_per_call,
        "takes_time": route.window is None or route.window.past is not None,
        "requests_per_second": route.rate,
        "limits": [vars(limit) for limit in route.limits],
    }


def _ordered(provider: Provider) -> list[tuple[str, Any]]:
    """The provider's own settings first, then those that all destinations have."""
    common = [base.model_fields for base in provider.settings.__mro__[1:] if hasattr(base, "model_fields")]
    shared = {name for fields in common for name in fields}
    fields = provider.settings.model_fields.items()
    return sorted(fields, key=lambda item: item[0] in shared)


def providers(known: Sequence[Provider]) -> str:
    """All of them."""
    return "\n\n\n".join(_provider(provider) for provider in known)


def _provider(provider: Provider) -> str:
    lines = [f"{provider.name}: {provider.title}, {provider.base_url}"]
    for number, route in enumerate(provider.routes):
        lines += ["", f"route {route.name}" + (" (default)" if number == 0 else "")]
        lines.append("  takes " + " and ".join(f"`{kind}:`" for kind in sorted(route.takes, reverse=True)))
        pages = list(dict.fromkeys((limit.page, limit.read) for limit in route.limits))
        rows = [
            (limit.what, f"{limit.value:,} {limit.unit}", f"[{pages.index((limit.page, limit.read)) + 1}]")
            for limit in route.limits
        ]
        lines += [f"  {line}" for line in table(rows, "<<<")]
        if route.rate is None:
            lines.append("  no rate published")
        if route.window is not None and route.window.past is None:
            lines.append("  no field for the time of an event")
        if route.users_per_call is not None:
            lines.append(f"  at most {plural(route.users_per_call, 'user')} per call")
        lines += [f"  [{at}] {page}, read {read}" for at, (page, read) in enumerate(pages, 1)]
    lines += ["", "settings (* must be given)"]
    settings = [
        (("* " if field.is_required() else "  ") + name, field.description or "") for name, field in _ordered(provider)
    ]
    lines += [f"  {line}" for line in table(settings, "<<")]
    lines += ["", "fields of an event, beside id, user, name, time and properties"]
    fields = [(name, field.kind, field.description) for name, field in provider.fields.items()]
    lines += [f"  {line}" for line in table(fields, "<<<")] or ["  none"]
    lines += ["", f"`user` is sent as {provider.user}"]
    if provider.id_types != ():
        lines += ["types of `ids`: " + ("any" if provider.id_types is None else ", ".join(provider.id_types))]
    return "\n".join(lines)
