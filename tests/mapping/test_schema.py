"""The JSON Schema says what the loader says."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from loader.mapping import json_schema, yaml
from tests.mapping.support import BATCH, BLOOMREACH, SOURCE
from tests.mapping.test_read import FULL

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
EVENT = "event: {user: u, name: n}\n"
CUSTOMER = "customer: {user: u, properties: '*'}\n"
BATCH_TOO = "  - {provider: batch, api_key: k, rest_api_key: r}\n"
SQL = (
    "source: {type: sql, url: 'sqlite://', query: 'SELECT :cursor', params: {a: 1}, "
    "cursor: {column: a, initial: 5, lag: 1h}}\n"
)
VALUES = (
    "event:\n  user: {expr: u, lookup: {1: a, b: null}, default: null, as: text, hash: sha256}\n  name: {const: n}\n"
    "  time: {expr: t, unit: ms, timezone: UTC}\n"
    "  properties: {a: 1, b: 1.5, c: true, d: {const: [1]}, e: {expr: d, as: date, format: '%Y'}}\n"
)

GOOD = [
    FULL,
    SOURCE + EVENT + BLOOMREACH,
    SQL + EVENT + BATCH,
    SQL.replace("}}", "}, expect: {rows: 1000.., change: 50%, unmet: say}}") + EVENT + BATCH,
    "source: {type: csv, path: x, settle: 60s, expect: {rows: 5}}\n" + EVENT + BLOOMREACH,
    SOURCE + VALUES + BATCH,
    SOURCE + "event: {ids: {cookie: c}, name: n, properties: '*'}\n" + BLOOMREACH,
    SOURCE + CUSTOMER + BLOOMREACH,
    SOURCE + CUSTOMER + BLOOMREACH.replace("}", ", customer: {ids: {cookie: c}, time: t, properties: [a]}}"),
    SOURCE + BLOOMREACH.replace("}", ", customer: {user: u}}") + BATCH_TOO.replace("}", ", event: {user: u, name: n}}"),
    SOURCE
    + "event: {user: u, name: n, properties: [a]}\n"
    + BATCH.replace("}", ", rate: 5/s, timeout: 1m, chunk: 5, event: {tags: [a, {const: b}]}}"),
]
BAD = [
    "[]",
    EVENT + BLOOMREACH,
    SOURCE + EVENT,
    SOURCE + EVENT + "destinations: []\n",
    SOURCE + EVENT + BLOOMREACH + "wher: x\n",
    SOURCE + EVENT + BLOOMREACH + "where: 1\n",
    SOURCE + EVENT + BLOOMREACH + "timezone:\n",
    "source: {type: xls, path: x}\n" + EVENT + BLOOMREACH,
    "source: {type: csv}\n" + EVENT + BLOOMREACH,
    "source: {type: csv, path: x, expect: {row: 5}}\n" + EVENT + BLOOMREACH,
    "source: {type: csv, path: x, expect: {unmet: warn}}\n" + EVENT + BLOOMREACH,
    SQL.replace("}}", "}, settle: 60s}") + EVENT + BATCH,
    "source: {type: csv, path: x, types: {a: int}}\n" + EVENT + BLOOMREACH,
    SOURCE + "event: {user: , name: n}\n" + BLOOMREACH,
    SOURCE + "event: {user: [u], name: n}\n" + BLOOMREACH,
    SOURCE + "event: {user: {expr: u, const: v}, name: n}\n" + BLOOMREACH,
    SOURCE + "event: {user: {as: text}, name: n}\n" + BLOOMREACH,
    SOURCE + "event: {user: {expr: u, as: int}, name: n}\n" + BLOOMREACH,
    SOURCE + "event: {user: {expr: u, lookup: {}}, name: n}\n" + BLOOMREACH,
    SOURCE + "event: {user: u, name: n, colour: c}\n" + BLOOMREACH,
    SOURCE + "event: {user: u, name: n, properties: all}\n" + BLOOMREACH,
    SOURCE + EVENT + BLOOMREACH.replace("}", ", event: {label: x}}"),
    SOURCE + EVENT + BLOOMREACH.replace("}", ", route: fast}"),
    SOURCE + EVENT + BLOOMREACH.replace("}", ", late_events: no}"),
    SOURCE + EVENT + BATCH.replace("api_key: k, ", ""),
    SOURCE + BLOOMREACH,
    SOURCE + EVENT + CUSTOMER + BLOOMREACH,
    SOURCE + CUSTOMER + BATCH,
    SOURCE + CUSTOMER + BLOOMREACH + BATCH_TOO,
    SOURCE + BATCH.replace("}", ", customer: {user: u}}"),
    SOURCE + BLOOMREACH.replace("}", ", customer: {user: u}, event: {user: u, name: n}}"),
    SOURCE + BLOOMREACH.replace("}", ", customer: {user: u}}") + BATCH_TOO,
    SOURCE + EVENT + BLOOMREACH.replace("}", ", customer: {user: u}}"),
    SOURCE + CUSTOMER + BLOOMREACH.replace("}", ", event: {user: u, name: n}}"),
    SOURCE + "customer: {user: u, name: n}\n" + BLOOMREACH,
    SOURCE + "customer: {user: u, id: i}\n" + BLOOMREACH,
    SOURCE + "customer: {user: u, label: l}\n" + BLOOMREACH,
    SOURCE + EVENT + "destinations: [{provider: x}]\n",
]


def data(text: str) -> Any:
    return yaml.parse("m.yaml", text.encode()).root.plain_data()


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", GOOD)
def test_good_mappings_pass(text: str) -> None:
    VALIDATOR.validate(data(text))


@pytest.mark.parametrize("text", BAD)
def test_bad_mappings_do_not(text: str) -> None:
    assert not VALIDATOR.is_valid(data(text)) if text != "[]" else not VALIDATOR.is_valid([])


def test_every_key_is_described() -> None:
    def visit(part: Any, path: str) -> None:
        if isinstance(part, list):
            for inner in part:
                visit(inner, path)
        if not isinstance(part, dict):
            return
        for name, key in part.get("properties", {}).items():
            assert "description" in key or "$ref" in key, f"{path}/{name}"
            visit(key, f"{path}/{name}")
        for name in ("anyOf", "oneOf", "items"):
            visit(part.get(name), path)

    for name, block in [("", SCHEMA), *SCHEMA["$defs"].items()]:
        visit(block, name)
