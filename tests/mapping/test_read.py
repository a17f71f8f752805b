"""What a mapping file says reaches the loader: data, environment, paths, stand-ins, destinations."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from loader.mapping import Mapping, read
from loader.settings import CsvSettings, JsonlSettings, ParquetSettings, SqlSettings
from tests.mapping.support import BATCH, BLOOMREACH, SOURCE, loaded, problems, write

EVENT = "event: {user: u, name: n}\n"


# Stand-ins


STAND_INS = {
    "batch": {"api_key": "stand-in", "api_key_2": "second", "rest_api_key": "rest", "base_url": "http://127.0.0.1:1"},
    "bloomreach": {
        "project_token": "p",
        "api_key_id": "i",
        "api_secret": "s",
        "api_token": "t",
        "base_url": "http://127.0.0.1:2",
    },
}


def test_stand_ins_replace_credentials_before_the_environment(tmp_path: Path) -> None:
    text = (
        SOURCE
        + EVENT
        + (
            "destinations:\n"
            "  - {provider: batch, name: ios, api_key: '${A}', rest_api_key: '${B}', base_url: https://example.com}\n"
            "  - {provider: bloomreach, project_token: '${C}', api_token: '${D}'}\n"
            "  - {provider: '${P}', name: android, api_key: real}\n"
        )
    )
    mapping = loaded(tmp_path, text, stand_ins=STAND_INS, env={"P": "batch"})
    ios, bloomreach, android = (destination.settings.model_dump() for destination in mapping.destinations)
    shown = {key: value.get_secret_value() for key, value in ios.items() if isinstance(value, SecretStr)}
    assert shown == {"api_key": "stand-in", "rest_api_key": "rest"}
    assert android["api_key"].get_secret_value() == "second"
    assert android["rest_api_key"].get_secret_value() == "rest"
    assert ios["base_url"] == android["base_url"] == "http://127.0.0.1:1"
    assert bloomreach["api_token"].get_secret_value() == "t"
    assert bloomreach["api_secret"] is None


def test_a_provider_without_a_stand_in_is_a_problem(tmp_path: Path) -> None:
    text = SOURCE + EVENT + BATCH + BLOOMREACH.partition("\n")[2]
    (problem,) = problems(write(tmp_path, text), stand_ins={"batch": STAND_INS["batch"]})
    assert problem.startswith("5:16: the sandbox has no stand-in for 'bloomreach', only for batch; to rehearse ")


# The whole


FULL = """
source: {type: csv, path: [../data/*.csv, /abs/x.csv, s3://bucket/y.csv]}
timezone: Europe/Paris
where: status = 'paid'
event:
  id: order_id
  user: customer_id
  name: {const: purchase}
  time: paid_at
  properties: {total: amount / 100, coupon: upper(coupon)}
destinations:
  - {provider: bloomreach, project_token: tok3n, api_token: s3cret}
  - provider: batch
    name: ios
    api_key: s3cret
    rest_api_key: s3cret
    event:
      name: kind
      label: tier
      tags: [tier, coupon]
      properties: {coupon: lower(coupon), city: city}
"""


def names(mapping: Mapping, destination: int) -> dict[str, list[Any]]:
    return {f.name: [v.expr or v.const for v in f.values] for f in mapping.destinations[destination].event.fields}


def test_a_whole_mapping(tmp_path: Path) -> None:
    folder = tmp_path / "mappings"
    folder.mkdir()
    path = write(folder, FULL, "orders.yaml")
    mapping = read(path, env={})
    assert mapping.path == path
    assert mapping.name == "orders"
    assert mapping.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert mapping.timezone == "Europe/Paris"
    assert isinstance(mapping.source, CsvSettings)
    assert mapping.source.path == [str(tmp_path / "data" / "*.csv"), "/abs/x.csv", "s3://bucket/y.csv"]
    assert [d.name for d in mapping.destinations] == ["bloomreach", "ios"]
    assert [d.route.name for d in mapping.destinations] == ["batch", "bulk"]
    shared = {
        "id": ["order_id"],
        "user": ["customer_id"],
        "name": ["purchase"],
        "time": ["paid_at"],
        "properties.total": ["amount / 100"],
        "properties.coupon": ["upper(coupon)"],
    }
    assert names(mapping, 0) == shared
    assert names(mapping, 1) == shared | {
        "name": ["kind"],
        "label": ["tier"],
        "tags": ["tier", "coupon"],
        "properties.coupon": ["lower(coupon)"],
        "properties.city": ["city"],
    }
    assert mapping.used_columns() == {
        "status",
        "order_id",
        "customer_id",
        "paid_at",
        "amount",
        "coupon",
        "kind",
        "tier",
        "city",
    }
    assert mapping.tells_new_rows
    for secret in ("s3cret", "tok3n"):
        assert secret not in repr(mapping)
        assert secret not in str(mapping.destinations)


def test_relative_paths_stay_where_the_mapping_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a[b]"
    folder.mkdir()
    write(folder, "source: {type: parquet, path: [x.parquet, '*.parquet']}\n" + EVENT + BLOOMREACH)
    monkeypatch.chdir(folder)
    source = read(Path("m.yaml"), env={}).source
    assert isinstance(source, ParquetSettings)
    assert source.path == [str(folder / "x.parquet"), str(tmp_path / "a[[]b]" / "*.parquet")]


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        ("sqlite:///shop.db", "sqlite:///{}/shop.db"),
        ("sqlite:///../shop.db?timeout=5", "sqlite:///{}/shop.db?timeout=5"),
        ("sqlite+pysqlite:///shop.db", "sqlite+pysqlite:///{}/shop.db"),
        ("sqlite:////abs/shop.db", "sqlite:////abs/shop.db"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite:///file:shop.db?mode=ro&uri=true", "sqlite:///file:shop.db?mode=ro&uri=true"),
        ("postgresql://user:pw@host/db", "postgresql://user:pw@host/db"),
    ],
)
def test_sqlite_lies_beside_the_mapping(tmp_path: Path, url: str, absolute: str) -> None:
    mapping = loaded(tmp_path, f"source: {{type: sql, url: '{url}', query: SELECT 1}}\n" + EVENT + BLOOMREACH)
    assert isinstance(mapping.source, SqlSettings)
    folder = tmp_path.parent if ".." in url else tmp_path
    assert mapping.source.url.get_secret_value() == absolute.format(folder)
    assert "pw" not in repr(mapping)


def test_new_rows_are_told_by_a_cursor_or_by_every_id(tmp_path: Path) -> None:
    assert not loaded(tmp_path, SOURCE + EVENT + BLOOMREACH).tells_new_rows
    cursor = "source: {type: jsonl, path: x, cursor: {column: day}}\n"
    mapping = loaded(tmp_path, cursor + EVENT + BLOOMREACH)
    assert isinstance(mapping.source, JsonlSettings)
    assert mapping.tells_new_rows
    assert mapping.used_columns() == {"u", "n", "day"}
    second = "  - {provider: batch, api_key: k, rest_api_key: r, event: {id: i}}\n"
    assert not loaded(tmp_path, SOURCE + EVENT + BLOOMREACH + second).tells_new_rows


@pytest.mark.parametrize(
    ("shared", "own", "left"),
    [
        ("{a: x, b: y}", "{b: z, c: w}", {"a": "x", "b": "z", "c": "w"}),
        ("{a: x, b: y}", "[c, b]", {"b": '"b"', "c": '"c"'}),
        ("[a, b]", "{c: x}", {"c": "x"}),
        ("'*'", "{c: x}", {"c": "x"}),
        ("[a, b]", "[b]", {"b": '"b"'}),
    ],
)
def test_properties_of_a_destination(tmp_path: Path, shared: str, own: str, left: dict[str, str]) -> None:
    destinations = BLOOMREACH.replace("}", f", event: {{properties: {own}}}}}")
    mapping = loaded(tmp_path, SOURCE + f"event: {{user: u, name: n, properties: {shared}}}\n" + destinations)
    found = {
        name.removeprefix("properties."): v[0]
        for name, v in names(mapping, 0).items()
        if name.startswith("properties.")
    }
    assert found == left
    assert mapping.destinations[0].event.all_columns is None


def test_all_columns(tmp_path: Path) -> None:
    mapping = loaded(
        tmp_path,
        SOURCE
        + "event: {user: u, name: n, properties: {a: b}}\n"
        + BLOOMREACH.replace("}", ", event: {properties: '*'}}"),
    )
    assert mapping.used_columns() is None
    assert set(names(mapping, 0)) == {"user", "name"}


def test_ids_of_a_destination_replace(tmp_path: Path) -> None:
    destinations = BLOOMREACH.replace("}", ", event: {ids: {cookie: c}}}")
    mapping = loaded(tmp_path, SOURCE + "event: {ids: {registered: r}, name: n}\n" + destinations)
    assert set(names(mapping, 0)) == {"name", "ids.cookie"}


def test_a_destination_may_bring_the_whole_event(tmp_path: Path) -> None:
    mapping = loaded(tmp_path, SOURCE + BATCH.replace("}", ", event: {user: u, name: n}}"))
    assert set(names(mapping, 0)) == {"user", "name"}
