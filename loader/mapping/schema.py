"""The JSON Schema of a mapping file, for editors: generated from the models and from what each provider declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    for provider in PROVIDERS.values():
        title = f"The event's fields for {provider.title}, beside or instead of the shared ones."
        definitions[f"Event for {provider.name}"] = _event(common, provider.fields, title)
        definitions[f"Destination {provider.name}"] = _destination(provider, definitions)
    properties = schema["properties"]
    properties["event"] = {"$ref": "#/$defs/Event", "description": properties["event"]["description"]}
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
    for key in properties.values():
        key.pop("writeOnly", None)
        key.pop("format", None)
    return schema
