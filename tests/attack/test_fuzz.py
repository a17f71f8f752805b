"""Whatever a provider answers and whatever a mapping says, the loader keeps its head.

The long form: LOADER_TEST_EXAMPLES=20000 pytest tests/attack/test_fuzz.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader.errors import MappingError, Problem, UsageError
from loader.mapping import bind, read
from loader.providers import PROVIDERS
from loader.providers.base import Answer, Outcome, Route
from tests.support.project import ROOT

EXAMPLES = int(os.environ.get("LOADER_TEST_EXAMPLES", "60"))
ROUTES = [(name, route) for name, provider in PROVIDERS.items() for route in provider.routes]
SAMPLES = sorted((ROOT / "mappings").glob("*.yaml"))
often = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

# Members and values of the providers' own answers, so that chance comes near to them.
KEYS = [
    "success",
    "token",
    "results",
    "errors",
    "error",
    "error_code",
    "code",
    "processed_count",
    "command_id",
    "details",
]
KEYS += ["message", "path", "retry_after", "start_time", "status"]
scalars = st.sampled_from([True, False, None, 0, 1, 2, 3, -1, 1.5, "", "1", "2", "x", "Invalid project id", 31, 1003])
values = st.recursive(
    scalars | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)
bodies = st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode())
statuses = st.sampled_from(
    [200, 201, 202, 204, 301, 400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504]
) | st.integers(100, 999)
headers = st.dictionaries(
    st.sampled_from(["retry-after", "date", "location", "x-ratelimit-reset", "content-type"]),
    st.text(max_size=30) | st.integers().map(str) | st.just("Wed, 21 Oct 2099 07:28:00 GMT"),
    max_size=3,
)


def is_success(provider: str, route: Route, answer: Answer, rows: list[int]) -> bool:
    """Whether the provider's page calls this answer success, as far as it concerns at least one event."""
    try:
        said: Any = json.loads(answer.body)
    except ValueError:
        return False
    if not isinstance(said, dict):
        return False
    if provider == "batch":
        return answer.status == 201 and bool(said.get("token"))
    if provider == "appizer":
        return 200 <= answer.status < 300 and said.get("success") is True and said.get("processed_count") == len(rows)
    if provider == "pushengage":
        return answer.status == 200 and said.get("error_code") == 0
    if route.name == "single":
        return answer.status == 200 and said.get("success") is True
    results = said.get("results")
    return answer.status == 200 and isinstance(results, list) and len(results) == len(rows)


@pytest.mark.parametrize(("provider", "route"), ROUTES, ids=[f"{name}-{route.name}" for name, route in ROUTES])
@given(status=statuses, body=bodies, given_headers=headers, count=st.integers(1, 4))
@often
def test_any_answer(
    provider: str, route: Route, status: int, body: bytes, given_headers: dict[str, str], count: int
) -> None:
    answer = Answer(status, given_headers, body)
    rows = list(range(1, min(count, route.events_per_call) + 1))
    receipt = route.read(answer, rows)
    assert set(receipt.refused) <= set(range(len(rows)))
    assert receipt.wait is None or receipt.wait >= 0
    json.dumps([receipt.message, receipt.token, *receipt.refused.values()]).encode()
    if receipt.outcome is Outcome.TAKEN:
        assert is_success(provider, route, answer, rows)


pieces = st.sampled_from(
    [
        *(
            "",
            " ",
            "\n",
            ":",
            "-",
            "{",
            "}",
            "[",
            "]",
            "'",
            '"',
            "#",
            "&a",
            "*a",
            "!!int",
            "|",
            ">",
            "~",
            "?",
            "\t",
            "\0",
        ),
        *(
            "event:",
            "source:",
            "destinations:",
            "customer:",
            "null",
            "NO",
            "1e9",
            ".inf",
            "${",
            "${HOME}",
            "é",
            "\u2028",
        ),
        *("SELECT", "COUNT(*)", "NOW()", "a.b.c", "((((", "'", "CAST(x AS", "<<: *a", "expr:", "const:", "lookup:"),
    ]
)


@given(sample=st.sampled_from(SAMPLES), data=st.data())
@often
def test_any_mapping(sample: Path, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    text = sample.read_text(encoding="utf-8")
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.sampled_from([0, 0, 1, 3, 10, 60])))
        text = text[:start] + data.draw(pieces) + text[end:]
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    lines = text.count("\n") + 2
    for problem in problems(path):
        assert problem.message
        assert 1 <= problem.line <= lines
        assert problem.column >= 1


def problems(path: Path) -> list[Problem]:
    """Those of a mapping whose source has no column; anything else than words about them is a failure."""
    try:
        bind(read(path, credentials="optional", env={}), {})
    except MappingError as error:
        return list(error.problems)
    except UsageError:
        pass
    return []
