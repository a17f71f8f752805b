"""The list of SQL functions is polars' own, and what would look at other rows is refused."""

from __future__ import annotations

import polars as pl
import pytest

from loader.mapping.expressions import MAX_OPERATORS, parse
from loader.mapping.functions import AGGREGATES, CLOCKS, ELSEWHERE, ROW_BY_ROW, WINDOWS

ARGUMENTS = ["a", "a, b", "a, 1", "a, 'x'", "a, 'x', 'y'", "'x', a", "'day', a", "'day', STRPTIME(a, '%Y')", ""]


def known(name: str) -> bool:
    """Whether polars has a function of this name: it complains of something else than the name."""
    said = []
    for arguments in ARGUMENTS:
        if name in ROW_BY_ROW and not arguments and name != "pi":
            continue
        try:
            pl.sql_expr(f"{name}({arguments})")
        except pl.exceptions.PolarsError as error:
            said.append(str(error))
        else:
            return True
    return not any("unsupported function" in text for text in said)


@pytest.mark.parametrize("name", sorted(ROW_BY_ROW | AGGREGATES | WINDOWS | CLOCKS))
def test_polars_knows_it(name: str) -> None:
    assert known(name)


def test_polars_does_not_know_what_is_written_elsewhere() -> None:
    assert [name for name in ELSEWHERE if known(name)] == []


@pytest.mark.parametrize("name", sorted(AGGREGATES | WINDOWS))
@pytest.mark.parametrize("arguments", ["a", "*", "a, b", ""])
def test_what_looks_at_other_rows_is_refused(name: str, arguments: str) -> None:
    expression, findings = parse(f"1 + {name.upper()}({arguments})")
    assert expression is None
    assert findings[0].part == name.upper()


@pytest.mark.parametrize("name", sorted(CLOCKS))
def test_the_clock_is_refused(name: str) -> None:
    for sql in (f"{name}()", name) if name != "now" else ("now()", "a > NOW ()"):
        assert parse(sql)[0] is None


@pytest.mark.parametrize(
    "sql",
    ["'SUM(a)'", '"sum(a)"', "a -- MAX(a)", "a /* NOW() */", "max + min", "first", "s.max", "now", "'SELECT'", "count"],
)
def test_names_alone_are_no_calls(sql: str) -> None:
    assert parse(sql)[1] == []


@pytest.mark.parametrize(
    "sql",
    [
        "((((((a))))))" + "x", "(" * 5000 + "a" + ")" * 5000, "NOT " * 5000 + "a", "upper(" * 1000 + "a" + ")" * 1000,
        " || ".join(["a"] * 5000), " AND ".join(["a"] * 5000), "CASE" + " WHEN a = 1 THEN 2" * 5000 + " END",
        "'" * 999, '"' * 999, "a\x00", "é", "💥", "a\u2028b", "{{a}}", "; DROP", "/*", "--", "'a", "a'", "$$a$$",
        "{fn now()}", "U&'x'", "coalesce()", "concat()", "greatest()", "interval", "interval '1'", "date", "date ''",
        "timestamp 'x'", "a[", "a[1:2]", "array[a]", "row(1)", "user.id", "a.order.b", "1.a", "'x'.y",
    ],
)  # fmt: skip
def test_nothing_crashes(sql: str) -> None:
    expression, findings = parse(sql)
    assert (expression is None) == bool(findings)
    assert all(finding.message and "\n" not in finding.message for finding in findings)


def test_the_longest_expressions_can_be_computed() -> None:
    frame = pl.DataFrame({"a": ["x"], "n": [1]})
    for sql in (
        " || ".join(["a"] * MAX_OPERATORS),
        " + ".join(["n"] * MAX_OPERATORS),
        " AND ".join(["n = 1"] * (MAX_OPERATORS // 2)),
        "CASE" + " WHEN n = 5 THEN 2" * (MAX_OPERATORS // 2) + " END",
    ):
        expression, findings = parse(sql)
        assert expression is not None, findings
        assert frame.select(expression).height == 1
