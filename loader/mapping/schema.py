"""The JSON Schema of a mapping file, for editors: generated from the models and from what each provider declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loader.mapping.events import EVENTS_ALONE
from loader.mapping.language import BECOMES
from loader.mapping.models import MappingFile
from loader.providers import PROVIDERS
from loader.providers.base import EventField, Provider

_FIELDS: dict[str, dict[str, Any]] = {
    "text": {"$ref": "#/$defs/Value"},
    "list": {
        "anyOf": [{"$ref": "#/$defs/Value"}, {"type": "array", "items": {"$ref": "#/$defs/Value"}, "minItems": 1}]
    },
}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a mapping file."""
    schema = MappingFile.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    every = {name: field for provider in PROVIDERS.values() for name, field in provider.fields.items()}
    common = definitions.pop("EventBlock")
    definitions["Event"] = _event(common, every, "What a row becomes.")
    definitions["Customer"] = _event(common, {}, "The profile that a row updates.")
    for name in EVENTS_ALONE:
        del definitions["Customer"]["properties"][name]
    for provider in PROVIDERS.values():
        title = f"The event's fields for {provider.title}, beside or instead of the shared ones."
        definitions[f"Event for {provider.name}"] = _event(common, provider.fields, title)
        definitions[f"Destination {provider.name}"] = _destination(provider, definitions)
    properties = schema["properties"]
    for name in BECOMES:
        properties[name] = {"$ref": f"#/$defs/{name.title()}", "description": properties[name]["description"]}
    schema["allOf"] = _either()
    properties["destinations"]["items"] = {
        "oneOf": [{"$ref": f"#/$defs/Destination {name}"} for name in PROVIDERS],
        "description": "A provider with its credentials.",
    }
    for name in ("timezone", "where"):
        properties[name] = {"type": "string", "minLength": 1, "description": properties[name]["description"]}
    for definition in definitions.values():
        kind = definition.get("properties", {}).get("type")
        if kind is not None:
            kind.setdefault("description", "The kind of source.")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "A mapping file of loader"}


def _either() -> list[dict[str, Any]]:
    """A mapping makes events or customers; the destinations follow it, or each of them says which."""
    rules: list[dict[str, Any]] = []
    for kind, other in (BECOMES, BECOMES[::-1]):
        able = [p.name for p in PROVIDERS.values() if any(kind in route.takes for route in p.routes)]
        destination = {"properties": {other: False, "provider": {"enum": able}}}
        rules.append(
            {
                "if": {"required": [kind]},
                "then": {"properties": {other: False, "destinations": {"items": destination}}},
            }
        )
    one_of_both = {"oneOf": [{"required": [kind]} for kind in BECOMES]}
    rules.append({"if": {"not": one_of_both}, "then": {"properties": {"destinations": {"items": one_of_both}}}})
    return rules


def _event(common: dict[str, Any], fields: Mapping[str, EventField], description: str) -> dict[str, Any]:
    properties = dict(common["properties"])
    for name, key in properties.items():
        # Nothing written after a key is a mistake, not a null.
        choices = [choice for choice in key.get("anyOf", []) if choice != {"type": "null"}]
        properties[name] = {"anyOf": choices, "description": key["description"]}
    for name, field in fields.items():
        properties[name] = {**_FIELDS[field.kind], "description": field.description}
    return {"type": "object", "description": description, "properties": properties, "additionalProperties": False}


def _destination(provider: Provider, definitions: dict[str, Any]) -> dict[str, Any]:
    schema = provider.settings.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
    definitions.update(schema.pop("$defs", {}))
    properties = schema["properties"]
    properties["provider"] = {"const": provider.name, "description": provider.title}
    routes = [route.name for route in provider.routes]
    properties["route"] = {"enum": routes, "description": properties["route"]["description"]}
    properties["event"] = {"$ref": f"#/$defs/Event for {provider.name}"}
    if any("customer" in route.takes for route in provider.routes):
        properties["customer"] = {"$ref": "#/$defs/Customer"}
    for key in properties.values():
        key.pop("writeOnly", None)
        key.pop("format", None)
    return schema
