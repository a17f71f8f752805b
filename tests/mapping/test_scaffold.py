"""Types are proven over all rows, guesses are said to be guesses, and what is written is a mapping that can be read."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loader.errors import MappingError
from loader.mapping import Bound, bind, read
from loader.mapping.proof import Column, Proof, leaves, words_of
from loader.mapping.scaffold import NO_TIME, NO_USER, Found, Scaffold, scaffold
from loader.plan import encode
from loader.providers import PROVIDERS
from loader.providers.base import Window
from loader.rejection import ROW
from tests.mapping.support import frame, types

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEYS = {
    f"{provider.name.upper()}_{key.upper()}": "x"
    for provider in PROVIDERS.values()
    for key in provider.settings.model_fields
}


def proven(rows: pl.DataFrame, *, numbers: bool = True, size: int = 3) -> tuple[Column, ...]:
    """The columns of `rows`, seen in frames of `size` rows."""
    proofs = [Proof(path, dtype, numbers=numbers) for path, dtype in leaves(types(rows))]
    for offset in range(0, rows.height, size):
        for proof in proofs:
            proof.see(rows.slice(offset, size))
    return tuple(proof.column() for proof in proofs)


def proof_of(values: Any, name: str = "a", *, numbers: bool = True) -> Column:
    return proven(frame({name: pl.Series(values)}), numbers=numbers)[0]


def made(rows: pl.DataFrame, provider: str = "bloomreach", **found: Any) -> Scaffold:
    source = {"type": "csv", "path": "rows.csv"}
    all_rows = Found(source, "rows.csv", "rows", proven(rows), rows.height)
    return scaffold(Found(**{**vars(all_rows), **found}), PROVIDERS[provider], NOW)


def bound(text: str, rows: pl.DataFrame) -> Bound:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.yaml"
        path.write_text(text, encoding="utf-8")
        return bind(read(path, env=KEYS), types(rows))


def sent(text: str, rows: pl.DataFrame) -> tuple[list[dict[str, Any]], list[str]]:
    """The events of `rows` for the first destination as JSON, and what was rejected."""
    destination = bound(text, rows).destinations[0]
    mapped = destination.events(rows)
    coded = encode(mapped.events, destination.destination.route.encode(destination.columns), None, "send", NOW)
    rejected = [*mapped.rejected.get_column("message"), *coded.rejected.get_column("message")]
    return [json.loads(event) for event in coded.events.get_column("event")], rejected


PROOFS: list[tuple[str, Sequence[str | None], str]] = [
    ("integers", ["0", "-1", "7", None, "999999999999999999"], "integer"),
    ("a zero in front", ["1", "2", "3", "4", "05"], "text"),
    ("nineteen digits", ["1", "2", "3", "1000000000000000000"], "text"),
    ("a plus", ["+33", "1", "2"], "text"),
    ("minus nothing", ["-0"], "text"),
    ("blanks", [" 1", "2"], "text"),
    ("a word in the last row", ["1"] * 10 + ["n/a"], "text"),
    ("decimals", ["1", "2.50", "-0.1"], "decimal"),
    ("a zero in front of a decimal", ["1.5", "00.1"], "text"),
    ("a decimal comma", ["1,5"], "text"),
    ("an exponent", ["1.5", "1e5"], "text"),
    ("a decimal of many digits", ["0.1234567890123456789"], "text"),
    ("booleans", ["true", "false", None, "False"], "boolean"),
    ("yes and no", ["yes", "no"], "text"),
    ("ones and zeros are numbers", ["1", "0"], "integer"),
    ("days", ["2026-03-01", "2026-03-02"], "date"),
    ("a day that does not exist", ["2026-03-01", "2026-02-30"], "text"),
    ("days and times", ["2026-03-01", "2026-03-01 10:00"], "datetime"),
    ("times with a zone", ["2026-03-01T10:00:00Z", "2026-03-01T10:00:00+02:00"], "datetime"),
    ("nothing", [None, None], "text"),
]


@pytest.mark.parametrize(("values", "kind"), [case[1:] for case in PROOFS], ids=[case[0] for case in PROOFS])
def test_a_type_counts_if_every_value_has_it(values: Sequence[str | None], kind: str) -> None:
    column = proof_of(pl.Series(values, dtype=pl.String))
    assert column.kind == kind
    assert column.convert == (kind != "text")
    assert (column.nulls, column.values) == (values.count(None), len(values) - values.count(None))


def test_a_source_with_types_of_its_own_keeps_its_texts() -> None:
    assert proof_of(["1", "2"], numbers=False).kind == "text"
    assert proof_of(["2026-03-01T10:00:00Z"], numbers=False).kind == "datetime"
    assert proof_of([1, 2], numbers=False) == proof_of([1, 2])


@pytest.mark.parametrize("name", ["order_id", "OrderID", "zip", "phone number", "sku", "uuid"])
def test_an_identity_is_text_whatever_it_looks_like(name: str) -> None:
    assert proof_of(["1", "2"], name).kind == "text"


@pytest.mark.parametrize(
    ("name", "values", "unit"),
    [
        ("at", ["1772348403"], "s"),
        ("created_at", ["1772348403", "1772348403999"], None),
        ("ts", ["1772348403038"], "ms"),
        ("eventTime", ["1772348403038123"], "us"),
        ("timestamp", ["1772348403.25"], "s"),
        ("date", ["20260301"], None),
        ("amount", ["1772348403"], None),
        ("timezone", ["1772348403"], None),
    ],
)
def test_numbers_are_times_by_name_and_range(name: str, values: list[str], unit: str | None) -> None:
    assert proof_of(values, name).unit == unit


def test_zones_are_looked_for_in_all_rows() -> None:
    aware = ["2026-03-01T10:00:00Z"] * 9
    assert not proof_of(aware).naive
    assert proof_of([*aware, "2026-03-01T10:00:00"]).naive
    assert proof_of(["2026-03-01"]).naive
    assert proof_of([datetime(2026, 3, 1)]).naive
    assert not proof_of([datetime(2026, 3, 1, tzinfo=UTC)]).naive


def test_few_mistakes_do_not_hide_a_time() -> None:
    values = ["2026-03-01T10:00:00Z"] * 99 + ["soon"]
    column = proof_of(values, "paid_at")
    assert (column.kind, column.misfits, column.misfit) == ("datetime", 1, "soon")
    assert proof_of(values, "note").kind == "text"
    assert proof_of(values[80:] + ["soon"] * 5, "paid_at").kind == "text"


def test_unique_means_in_all_rows() -> None:
    assert proof_of(["a", "b", "c", "d"], "id").unique
    assert not proof_of(["a", "b", "c", "a"], "id").unique
    assert not proof_of(["a", "b", None], "id").unique


def test_words_of_names() -> None:
    names = ["CustomerID", "customer_id", "customerId", "Customer ID", "customer.id", "HTTPCustomer-Id"]
    assert [words_of(name)[-2:] for name in names] == [["customer", "id"]] * 6


ID, TIME = ["a", "b"], ["2026-11-20T10:00:00Z", "2026-11-20T11:00:00Z"]
GUESSES: list[tuple[dict[str, list[str]], dict[str, str]]] = [
    ({"id": ID, "CustomerID": ID, "created_at": TIME}, {"id": "id", "user": "CustomerID", "time": "created_at"}),
    ({"user_id": ID, "account_id": ID}, {"user": "user_id"}),
    ({"email": ["a@x", "b@x"], "member_no": ID}, {"user": "member_no"}),
    ({"E-Mail": ["a@x", "b@x"], "city": ID}, {"user": "E-Mail"}),
    ({"email": ["yes", "no"], "uid": ID}, {"user": "uid"}),
    ({"order_id": ID, "event_id": ID, "user": ID}, {"id": "event_id", "user": "user"}),
    ({"order_id": ["a", "a"], "user": ID}, {"user": "user"}),
    ({"user": ID, "updated_at": TIME, "paid_at": TIME}, {"time": "paid_at", "user": "user"}),
    ({"user": ID, "day": ["2026-11-20"] * 2, "time": TIME}, {"time": "time", "user": "user"}),
    ({"user": ID, "expires_at": TIME, "event_time": TIME}, {"time": "event_time", "user": "user"}),
    ({"user": ID, "when it was": TIME}, {"time": "when it was", "user": "user"}),
]


@pytest.mark.parametrize(("columns", "wanted"), GUESSES)
def test_guesses(columns: dict[str, list[str]], wanted: dict[str, str]) -> None:
    rows = frame(columns)
    found = made(rows)
    fields = {field.name: field for field in bound(found.text, rows).destinations[0].destination.event.fields}
    for name in ("id", "user", "time"):
        sql = fields[name].values[0].expr if name in fields else None
        assert (sql or "").strip('"') == wanted.get(name, "")
    assert found.open == ()


def test_what_cannot_be_guessed_is_a_placeholder_that_check_reports() -> None:
    rows = frame({"amount": ["1", "2"], "Date": ["01/12/2010 8:26", "13/12/2010 8:26"]})
    found = made(rows)
    lines = found.text.splitlines()
    with pytest.raises(MappingError) as caught:
        bound(found.text, rows)
    places = {(p.line, p.message.split(";")[0]) for p in caught.value.problems}
    numbers = {name: 1 + next(i for i, line in enumerate(lines) if name in line) for name in (NO_USER, NO_TIME)}
    assert places == {(number, f"no column '{name}'") for name, number in numbers.items()}
    assert [line.split(":")[0] for line in found.open] == ["user", "time"]
    # The note beside it shows how to write the time; with that and a user the mapping is right.
    hint = next(line for line in lines if "format:" in line).split("such as ")[1].split(", or take")[0]
    events, _ = sent(found.text.replace(NO_USER, "amount").replace(NO_TIME, hint), rows)
    assert [event["data"]["timestamp"] for event in events] == [1291191960, 1292228760]


def test_without_any_time_the_mapping_says_what_that_means() -> None:
    found = made(frame({"user": ["a"], "x": ["1"]}))
    assert (
        "  # time: no column holds times; without one, events happen for the provider when they are sent" in found.text
    )
    assert found.guesses["time"].startswith("none")


def test_values_arrive_as_they_were() -> None:
    rows = frame(
        {
            "user_id": ["007", "8"],
            "amount": ["12.10", "3"],
            "count": ["1", "-2"],
            "zip": ["01234", "99999"],
            "ok": ["true", "false"],
            "day": ["2026-03-01", "2026-03-02"],
            "seen_at": ["1772348403038", "1772348403039"],
            "note": ["NO", None],
        }
    )
    events, rejected = sent(made(rows).text, rows)
    assert rejected == []
    assert events[0]["data"]["customer_ids"] == {"registered": "007"}
    assert events[0]["data"]["timestamp"] == 1772348403.038
    assert events[0]["data"]["properties"] == {
        "amount": 12.1, "count": 1, "zip": "01234", "ok": True, "day": "2026-03-01", "note": "NO",
    }  # fmt: skip


def test_times_without_a_zone_ask_for_one() -> None:
    rows = frame({"user": ["a"], "paid_at": ["2026-03-01 10:00:00"]})
    found = made(rows)
    assert "timezone: UTC   " in found.text
    assert "paid_at: these times carry no zone" in found.text
    assert any(line.startswith("timezone: paid_at") for line in found.decide)
    aware = frame({"user": ["a"], "paid_at": ["2026-03-01 10:00:00Z"]})
    assert "timezone" not in made(aware).text
    assert "timezone: UTC" in made(frame({"user": ["a"], "day": ["2026-03-01"]})).text
    day = frame({"user": ["a"], "at": ["2026-03-01 10:00:00Z"], "day": ["2026-03-01"]})
    assert "timezone" not in made(day).text
    assert sent(made(day).text, day)[0][0]["data"]["properties"] == {"day": "2026-03-01"}


def test_old_events_are_for_a_person_to_decide_about() -> None:
    old = frame({"user": ["a"], "at": ["2026-03-01T10:00:00Z"]})
    assert "    # late_events: omit_time" in made(old, "batch").text
    assert any(line.startswith("late_events: the events are of 2026-03-01") for line in made(old, "batch").decide)
    assert "late_events" not in made(old, "bloomreach").text
    new = frame({"user": ["a"], "at": ["2026-11-20T10:00:00Z"]})
    assert "late_events" not in made(new, "batch").text


def test_a_provider_without_times_is_for_a_person_to_decide_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROVIDERS["batch"].routes[0], "window", Window(None, "page"))
    found = made(frame({"user": ["a"], "at": ["2026-11-20T10:00:00Z"]}), "batch")
    assert "    # late_events: omit_time" in found.text
    assert any(line.startswith("late_events: Batch has no field for a time") for line in found.decide)
    assert "late_events" not in made(frame({"user": ["a"]}), "batch").text


def test_what_batch_does_not_take_is_left_out_and_said() -> None:
    many = {f"Column {number}": ["x"] for number in range(20)}
    rows = frame({"user": ["a"], "text": ["x" * 65], "short": ["x" * 64], "tags": [["a"]], **many})
    found = made(rows, "batch")
    assert (
        "    # left out: text: texts of up to 65 characters, Batch takes 64 (LEFT(text, 64) cuts them)\n" in found.text
    )
    assert "    # left out: tags: Batch takes texts" in found.text
    assert found.text.count("# left out: Column") == 6
    events, rejected = sent(found.text, rows)
    assert rejected == []
    assert len(events[0]["attributes"]) == 15
    assert {"short", "column_0"} <= set(events[0]["attributes"])
    # The way out that the comment names is one.
    text = found.text.replace("short: short", "text: LEFT(text, 64)")
    assert sent(text, rows)[0][0]["attributes"]["text"] == "x" * 64


def test_keys_that_become_alike_stay_apart() -> None:
    rows = frame(
        {"user": ["a"], "A b": ["1"], "a_b": ["2"], "A-B": ["3"], "x" * 40: ["4"], "x" * 41: ["5"], "é": ["6"]}
    )
    attributes = sent(made(rows, "batch").text, rows)[0][0]["attributes"]
    assert attributes == {"a_b": 1, "a_b_2": 2, "a_b_3": 3, "x" * 30: 4, "x" * 28 + "_2": 5, "column": 6}


def test_an_event_needs_a_property() -> None:
    rows = frame({"user": ["a"]})
    events, rejected = sent(made(rows).text, rows)
    assert rejected == []
    assert events[0]["data"]["properties"] == {"source": "rows"}


def test_nested_columns() -> None:
    users = [{"id": "1", "address": {"City Name": "Ulm"}}, {"id": "2", "address": None}]
    rows = frame({"user": users, "order": [{"select": 1}, {"select": 2}]})
    events, _ = sent(made(rows).text, rows)
    assert events[0]["data"]["customer_ids"] == {"registered": "1"}
    assert [e["data"]["properties"] for e in events] == [
        {"user_address_City Name": "Ulm", "order_select": 1},
        {"order_select": 2},
    ]


def test_ids_that_end_in_zero_are_kept_and_pointed_at() -> None:
    rows = frame({"CustomerID": ["17850.0", "13047.0"], "x": ["1", "2"]})
    text = made(rows).text
    assert sent(text, rows)[0][0]["data"]["customer_ids"] == {"registered": "17850.0"}
    better = next(line for line in text.splitlines() if "REGEXP_REPLACE" in line).replace("# ", "")
    lines = [better if line.startswith("  user:") else line for line in text.splitlines()]
    assert sent("\n".join(lines), rows)[0][0]["data"]["customer_ids"] == {"registered": "17850"}


def test_binary_columns_are_left_out() -> None:
    rows = frame({"user": ["a"], "x": [1], "blob": [b"\x00"], "times": [[datetime(2026, 1, 1)]]})
    text = made(rows).text
    assert text.count("    # left out: ") == 2
    assert sent(text, rows)[1] == []


def test_columns_that_sql_takes_for_patterns_are_left_out() -> None:
    rows = frame({"user": ["a"], "x": ["1"], "*": ["2"], "^user.*$": ["3"]})
    text = made(rows).text
    assert text.count(": its name cannot be written in SQL") == 2
    assert sent(text, rows)[0][0]["data"]["properties"] == {"x": 1}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_credentials_come_from_the_environment(provider: str) -> None:
    rows = frame({"user": ["a"], "x": ["1"]})
    settings = bound(made(rows, provider).text, rows).destinations[0].destination.settings
    assert settings.provider == provider


# Names that YAML, SQL, comments, or `${}` could take for something else.
STRANGE = """null NO on ~ user order select now 1 1.5 a.b a"b a'b a`b ${x} $${x} {a} [a] * &a !a %a @a a#b 😀 \\ \x7f"""
NAMES = st.text(min_size=1, max_size=12).map(str.strip) | st.sampled_from(
    [*STRANGE.split(), "a: b", "# a", "- a", "a\nb", "a\u2028b", "a\x85b", "a\tb"]
)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        NAMES.filter(lambda n: n and n not in (ROW, "*") and not n.startswith("^")), min_size=1, max_size=8, unique=True
    )
)
@example(["a b\u2028", "x"])
@example(["null", "NO", "${x}", "# a", "a'b", 'a"b', "select", "now"])
def test_columns_may_have_nearly_any_name(names: list[str]) -> None:
    rows = frame(
        {"my user": ["a", "b"], **{name: [f"v{at}", "w"] for at, name in enumerate(names) if name != "my user"}}
    )
    for provider in PROVIDERS:
        text = made(rows, provider).text
        events, rejected = sent(text, rows)
        assert rejected == []
        assert len(events) == 2
    properties = sent(made(rows).text, rows)[0][0]["data"].get("properties", {})
    user = sent(made(rows).text, rows)[0][0]["data"]["customer_ids"]["registered"]
    assert {*properties.values(), user} - {"a", "rows"} == {
        f"v{at}" for at, name in enumerate(names) if name != "my user"
    } - {"a"}


@settings(deadline=None)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.text(max_size=20), st.text(max_size=30))
def test_values_cannot_break_out_of_comments(values: list[str], origin: str, name: str) -> None:
    rows = frame({"user": ["a"] * len(values) * 10, "x": values * 10})
    text = made(rows, origin=origin, name=name, source={"type": "csv", "path": "rows.csv"}).text
    assert set(bound(text, rows).destinations[0].columns) == {ROW, "user", "name", "properties.x"}


@given(st.text(min_size=1))
def test_paths_are_written_so_that_they_are_read_again(path: str) -> None:
    from pydantic import TypeAdapter

    from loader.mapping import yaml
    from loader.settings import CsvSettings

    rows = frame({"user": ["a"], "x": ["1"]})
    text = made(rows, source={"type": "csv", "path": path, "separator": "\t"}).text
    document = yaml.parse("m.yaml", text.encode())
    yaml.expand_environment(document, {})
    settings = TypeAdapter(CsvSettings).validate_python(document.root.plain_data()["source"])
    assert (settings.path, settings.separator) == ([path], "\t")
