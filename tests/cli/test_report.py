"""What people read: numbers, summaries, plans, histories. Whole texts, so that a change is seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.errors import Exit, Interrupted, LoaderError, Refused, TooManyRejections
from loader.report.cursor import Position
from loader.report.plan import Load, planned
from loader.report.preview import pretty
from loader.report.rejects import Example, grouped, rejects
from loader.report.status import Ending, History, status
from loader.report.summary import next_step, summary
from loader.report.totals import DestinationTotals, Events, Rows, RunTotals, check
from loader.report.words import command, duration, one_line, plural, size


def run_totals(status: str = "done", **events: int) -> RunTotals:
    """A run to two destinations; `events` are those of the second."""
    batch = Events(**{"total": 1200, "sent": 1200, **events})
    reasons = {("", "missing_user"): 19, ("", "bad_type"): 1}
    if batch.rejected:
        reasons["batch", "refused"] = batch.rejected
    run = RunTotals(
        "20261120T120000-abcdef",
        "orders",
        status,
        Rows(1250, 30, 20, 1200),
        (
            DestinationTotals("bloomreach", "bloomreach", "batch", Events(1200, 200, 0, 1000), 20, 21, 0, 231_040),
            DestinationTotals("batch", "batch", "bulk", batch, 2, 2, 2, 99_700),
        ),
        3.14159,
        reasons,
        "2026-11-20T12:00:00+00:00",
    )
    check(run)
    return run


SUMMARY = """\
orders: done (run 20261120T120000-abcdef)

             read = filtered + rejected + events
rows        1,250 =       30 +       20 +  1,200

            events = already delivered + rejected +  sent + in doubt + pending
bloomreach   1,200 =               200 +        0 + 1,000 +        0 +       0
batch        1,200 =                 0 +        3 + 1,197 +        0 +       0

bloomreach  20 chunks  21 requests  0 tokens
batch        2 chunks   2 requests  2 tokens
3.1 s, 699 events/s

rejected
  19  rows   missing_user  the event has no user
   1  rows   bad_type      the value is not of the type that the mapping asks for
   3  batch  refused       the provider refused the event"""


def test_summary() -> None:
    assert summary(run_totals(rejected=3, sent=1197)) == SUMMARY


def test_a_summary_says_why_a_run_stopped() -> None:
    text = summary(run_totals("stopped", sent=1000, pending=200), "batch: the provider refused the credentials")
    assert text.startswith("orders: stopped (run ")
    assert text.endswith("\n\nstopped: batch: the provider refused the credentials")
    assert "batch        1,200 =                 0 +        0 + 1,000 +        0 +     200" in text


def test_nothing_new() -> None:
    assert summary(RunTotals(None, "orders", "nothing_new")) == "orders: nothing new to load"


def test_a_summary_fits_on_a_screen() -> None:
    lines = summary(run_totals(rejected=3, sent=1197)).splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 100


def step(
    run: RunTotals,
    error: LoaderError | None = None,
    *,
    doubts: bool = False,
    rejected: bool = False,
    state: str | None = None,
) -> str | None:
    text = next_step(
        run, "mappings/o.yaml", None if state is None else Path(state), error, doubts_left=doubts, rejected=rejected
    )
    return None if text is None else text.splitlines()[-1]


def test_the_last_line_is_the_command_that_does_what_is_left() -> None:
    pending, doubts = run_totals("paused", sent=1000, pending=200), run_totals("in_doubt", sent=1000, in_doubt=200)
    stopped = Interrupted("interrupted", Exit.SIGINT)
    assert step(run_totals()) is None
    assert step(pending) == "loader run mappings/o.yaml"
    assert step(pending, state="my state") == "loader run mappings/o.yaml --state 'my state'"
    assert step(pending, Refused("x"), doubts=True, rejected=True) == "loader run mappings/o.yaml"
    assert step(run_totals(), stopped) == "loader run mappings/o.yaml"
    assert step(pending, TooManyRejections("x")) == "loader rejects mappings/o.yaml"
    assert step(doubts, doubts=True, rejected=True) == "loader resolve mappings/o.yaml --resend"
    assert step(run_totals(), rejected=True) == "loader rejects mappings/o.yaml"


PLAN = """\
orders: planned; nothing was sent (run 20261120T120000-abcdef)

             read = filtered + rejected + events
rows        1,250 =       30 +       20 +  1,200

            events = already delivered + rejected +  sent + in doubt + pending
bloomreach   1,200 =               200 +        0 + 1,000 +        0 +       0
batch        1,200 =                 0 +        0 +     0 +        0 +   1,200

bloomreach  20 chunks   20 requests  231.0 kB  0.2 s at 100 requests/s
batch        2 chunks  200 requests   99.7 kB  20 min at 10 requests/min

rejected
  19  rows  missing_user  the event has no user
      e.g. row 1,003 (b.csv, its row 3): user (customer) is null
   1  rows  bad_type      the value is not of the type that the mapping asks for"""


def test_plan() -> None:
    example = Example(1003, "user", None, "user (customer) is null", "{}", "b.csv", 3)
    run = run_totals("paused", sent=0, pending=1200)
    run = replace(run, destinations=tuple(replace(d, requests=0) for d in run.destinations))
    loads = [Load("bloomreach", 20, 20, 231_040, 100.0), Load("batch", 2, 200, 99_700, 10 / 60)]
    assert planned(run, loads, {("", "missing_user"): example}) == PLAN


def test_a_destination_without_a_rate_says_so() -> None:
    load = Load("batch", 2, 2, 10, None)
    assert (load.pace, load.seconds_at_rate) == ("no rate published", None)


REJECTS = """\
run R: 21 rejections

missing_user: 19 rows
  the event has no user
  e.g. row 4 (orders.csv): user (customer) is null
       {"id":"3"}

refused: 2 events to batch, 1 of them retried since
  the provider refused the event"""


def test_rejects() -> None:
    example = Example(4, "user", None, "user (customer) is null", '{"id":"3"}', "orders.csv", 4)
    counts = {("batch", "refused"): 2, ("", "missing_user"): 19}
    groups = grouped(counts, {("", "missing_user"): example}, {("batch", "refused"): 1})
    assert rejects("R", groups) == REJECTS


STATUS = """\
orders
held by process 7 on here (since now)
cursor of number: 17 (integer), by run 20261120T120000-abcdef

20261120T120000-abcdef  2026-11-20T12:00:00+00:00  under way
  rows        1,250 read, 30 filtered, 20 rejected, 1,200 events
  bloomreach  200 already delivered, 1,000 sent
  batch       1,000 sent, 200 pending
  file orders.csv, 1,250 rows"""


def test_status() -> None:
    run = run_totals("paused", sent=1000, pending=200)
    files = {"20261120T120000-abcdef": [("orders.csv", 1250)]}
    cursor = Position("number", "integer 17", run.run, None, None, None)
    assert status(History("orders", (run,), cursor, files, "process 7 on here (since now)")) == STATUS
    assert "+00:00  paused\n" in status(History("orders", (run,)))


def test_status_says_what_went_wrong() -> None:
    run = run_totals("stopped", sent=1000, pending=200)
    failed = Ending("2026-11-20T12:03:00+00:00", 5, "batch: no answer\nfor 15 min")
    text = status(History("orders", (run,), last=failed, stopped={str(run.run): failed}))
    assert "\nlast run: 2026-11-20T12:03:00+00:00, exit 5\n" in text
    assert text.endswith("  2026-11-20T12:03:00+00:00: exit 5: batch: no answer for 15 min")
    killed = Ending("2026-11-20T12:03:00+00:00", None, None)
    assert "it ended without a word: it was killed, or" in status(History("orders", (), last=killed))
    assert "+00:00, exit 5: batch: no answer for 15 min\n" in status(History("orders", (), last=failed))


def test_status_shows_the_newest_runs_and_those_with_something_left() -> None:
    runs = tuple(replace(run_totals(), run=f"R{number:02}") for number in range(30))
    left = replace(run_totals("paused", sent=1000, pending=200), run="R03")
    history = History("orders", (*runs[:3], left, *runs[4:]))
    shown = [line.split()[0] for line in status(history).splitlines() if line.startswith("R")]
    assert shown == ["R03", *(f"R{number:02}" for number in range(20, 30))]
    assert "\n19 earlier runs, which --all shows\n" in status(history)
    assert status(replace(history, all_runs=True)).count("  rows ") == 30


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (0.26, "0.3 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3599.6, "1 h"),
        (4320, "1 h 12 min"),
        (7199, "2 h"),
        (86400, "24 h"),
        (2 * 86400 + 4 * 3600, "2 days 4 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# Days are the largest unit: of them there may be sixty.
@given(st.floats(0, 59 * 86_400))
def test_no_duration_shows_sixty_of_a_unit(seconds: float) -> None:
    assert " 60 " not in f" {duration(seconds)} "


def test_words() -> None:
    assert [plural(n, "event") for n in (0, 1, 1200)] == ["0 events", "1 event", "1,200 events"]
    assert [size(n) for n in (1, 999, 1000, 999_949, 999_951, 12_345_678_901_234_567)] == [
        "1 byte",
        "999 bytes",
        "1.0 kB",
        "999.9 kB",
        "1.0 MB",
        "12,345.7 TB",
    ]
    assert one_line("a\n\tb\x1b[31m" + "x" * 300, 20) == "a b [31mxxxxxxxxx..."
    assert (
        command("run", "my orders.yaml", "--again", state=Path("s")) == "loader run 'my orders.yaml' --again --state s"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_pretty_json_is_the_same_json(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert json.loads(pretty(text)) == value
    assert pretty(text) == json.dumps(value, ensure_ascii=False, indent=2)


def test_pretty_json_keeps_the_digits() -> None:
    assert pretty('{"total":12.10,"at":1714557600.000001}') == '{\n  "total": 12.10,\n  "at": 1714557600.000001\n}'
