"""YAML text becomes data: scalars, keys, anchors, environment variables, and files that mean harm."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.mapping import read, yaml
from loader.mapping.environment import expand
from tests.mapping.support import SOURCE, event, loaded, problems, write

EVENT = "event: {user: u, name: n}\n"


def data(text: str) -> Any:
    return yaml.parse("m.yaml", text.encode()).root.plain_data()


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("NO", "NO"),
        ("on", "on"),
        ("yes", "yes"),
        ("y", "y"),
        ("'00123'", "00123"),
        ('"1"', "1"),
        ("!!str 5", "5"),
        ("00123", 123),
        ("-5", -5),
        ("9007199254740993", 9007199254740993),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("12.10", 12.1),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", -math.inf),
        ("1:30", "1:30"),
        ("2026-03-01", "2026-03-01"),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("nUll", "nUll"),
        ("'null'", "null"),
        ("'true'", "true"),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_scalars_of_yaml_1_2(scalar: str, value: object) -> None:
    found = data(f"a: {scalar}\n")["a"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_text_as_written() -> None:
    assert data("1: a\n007: b\nTrue: c\n'x y': d\n1.0: e\n") == {
        "1": "a",
        "007": "b",
        "true": "c",
        "x y": "d",
        "1.0": "e",
    }


def test_a_version_directive_changes_nothing() -> None:
    assert data("%YAML 1.1\n---\na: NO\nb: 010\n") == {"a": "NO", "b": 10}


# Two more that YAML 1.2 does not take ([1] c-printable).
_PRINTABLE = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")


@given(
    st.dictionaries(
        st.text(_PRINTABLE, min_size=1),
        st.text(_PRINTABLE),
    )
)
def test_any_quoted_text_comes_back(members: dict[str, str]) -> None:
    def quoted(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    text = "".join(f"? {quoted(key)}\n: {quoted(value)}\n" for key, value in members.items()) or "{}"
    assert data(text) == members


def test_a_bom_and_windows_lines() -> None:
    document = yaml.parse("m.yaml", b"\xef\xbb\xbfa: 1\r\nb: x\r\n")
    assert document.root.plain_data() == {"a": 1, "b": "x"}
    assert (document.find(("b",)).line, document.find(("b",)).column) == (2, 4)


def test_anchors_are_copied() -> None:
    assert data("a: &x {b: [1]}\nc: *x\n") == {"a": {"b": [1]}, "c": {"b": [1]}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
            "200,000 values",
        ),
        ("[" * 100_000, "nested more than 40 deep"),
        ("{a: " * 100_000, "nested more than 40 deep"),
        ("a: " + "x" * 10_000_000, "a mapping has at most 1,000,000"),
    ],
    ids=["aliases of aliases", "lists in lists", "maps in maps", "10 MB"],
)
def test_hostile_files_end_soon(tmp_path: Path, text: str, said: str) -> None:
    began = time.monotonic()
    [problem] = problems(write(tmp_path, text))
    assert said in problem
    assert time.monotonic() - began < 10


def test_many_members_are_read_in_reasonable_time(tmp_path: Path) -> None:
    table = "".join(f"        k{n}: v{n}\n" for n in range(20_000))
    path = event(tmp_path, "user: u\nname:\n  expr: n\n  lookup:\n" + table)
    began = time.monotonic()
    lookup = read(path).destinations[0].event.fields[1].values[0].lookup
    assert lookup is not None
    assert len(lookup) == 20_000
    assert time.monotonic() - began < 20


# Environment


def test_environment_variables() -> None:
    env = {"A": "1", "B": "", "C": "${A}"}
    assert expand("x${A}y", env).text == "x1y"
    assert expand("${B}|${B:-d}|${Z:-d e}|${Z:-}", env).text == "|d|d e|"
    assert expand("${C}", env).text == "${A}"
    assert expand("$A $ $$ $${A} $$${A}", env).text == "$A $ $$ ${A} $${A}"
    assert expand("${X}${Y}", env).missing == ("X", "Y")
    for broken in ("${", "${}", "${1A}", "${A", "${A B}"):
        assert expand(broken, env).broken, broken


@given(st.text(), st.text())
def test_a_value_is_never_read_as_anything_but_text(value: str, around: str) -> None:
    around = around.replace("$", "")
    assert expand(f"{around}${{NAME}}{around}", {"NAME": value}).text == f"{around}{value}{around}"


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_an_environment_value_is_no_yaml(value: str) -> None:
    document = yaml.parse("m.yaml", b"a: {b: '${NAME}'}\nc: ${NAME}\n")
    yaml.expand_environment(document, {"NAME": value})
    assert document.root.plain_data() == {"a": {"b": value}, "c": value}
    assert document.problems == []


def test_missing_variables_are_all_told(tmp_path: Path) -> None:
    text = (
        SOURCE
        + EVENT
        + (
            "destinations:\n  - provider: bloomreach\n    project_token: ${BR_TOKN}\n"
            "    api_key_id: a${BR_ID}${BR_SECRT}\n"
            "    api_secret: $${x} ${\n    base_url: ${BR_URL:-https://example.com}\n"
        )
    )
    env = {"BR_TOKEN": "s3cret-1", "BR_SECRET": "s3cret-2", "OTHER_SECRT": "s3cret-3"}
    found = problems(write(tmp_path, text), env=env)
    assert found == [
        "5:20: the environment variable BR_TOKN is not set; did you mean ${BR_TOKEN}?",
        "6:17: the environment variable BR_ID is not set; set it, or give a default with ${BR_ID:-…}",
        "6:17: the environment variable BR_SECRT is not set; did you mean ${BR_SECRET}?",
        "7:17: '${' starts an environment variable such as ${NAME}; write $${ for the text itself",
        "7:17: expected printable ASCII without blanks or line breaks",
    ]
    assert "s3cret" not in str(found)


def test_numbers_and_expressions_may_come_from_the_environment(tmp_path: Path) -> None:
    text = (
        SOURCE
        + "event: {user: '${USER_COLUMN}', name: {const: '${NAME}'}}\n"
        + ("destinations: [{provider: batch, api_key: k, rest_api_key: r, chunk: '${CHUNK}', timeout: '${T}'}]\n")
    )
    mapping = loaded(tmp_path, text, env={"USER_COLUMN": "lower(email)", "NAME": "a: [b]", "CHUNK": "500", "T": "5m"})
    [destination] = mapping.destinations
    assert destination.settings.chunk == 500
    assert destination.settings.timeout == 300
    assert [field.values[0].expr or field.values[0].const for field in destination.event.fields] == [
        "lower(email)",
        "a: [b]",
    ]


def test_credentials_may_be_missing_where_nothing_is_sent(tmp_path: Path) -> None:
    text = (
        SOURCE
        + EVENT
        + (
            "destinations:\n  - provider: bloomreach\n    project_token: ${TOKEN}\n    api_key_id: ${ID}\n"
            "    api_secret: ${SECRET}\n"
        )
    )
    mapping = loaded(tmp_path, text, credentials="optional", env={"ID": "known"})
    settings: Any = mapping.destinations[0].settings
    assert settings.project_token.get_secret_value() == "not-set"
    assert settings.api_key_id.get_secret_value() == "known"
    with_url = write(tmp_path, text + "    base_url: ${URL}\n")
    assert problems(with_url, credentials="optional") == [
        "8:15: the environment variable URL is not set; set it, or give a default with ${URL:-…}"
    ]
