"""One request in five goes wrong, in any way: everything arrives exactly, or is known to be in doubt.

The long form: LOADER_TEST_EVENTS=100000 pytest tests/attack/test_random_faults.py
"""

from __future__ import annotations

import os

import pytest

from tests.cli.conftest import QuickProject
from tests.support.project import arrived, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox

EVENTS = int(os.environ.get("LOADER_TEST_EVENTS", "4000"))
# The waits of each fault add up; one in five in all.
KINDS = ("429", "500", "503", "502_html", "html_200", "reset_before", "lost_answer", "truncated", "never")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of faults, one pause each."""
    monkeypatch.setattr("loader.sending.pacing.FIRST_WAIT", 0.02)


def faults(kinds: tuple[str, ...]) -> list[dict[str, object]]:
    share = 0.2 / len(kinds)
    return [{"kind": kind, "probability": share, "seed": n, "retry_after": 0.1} for n, kind in enumerate(kinds)]


def test_bloomreach_gets_everything_exactly_once(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(EVENTS, users=997))
    settings = {"chunk": 20, "timeout": "300ms", "rate": "100000/s", "concurrency": 16}
    project.mapping(simple_mapping({**credentials("bloomreach", stand_in.url), **settings}))
    stand_in.faults(faults(KINDS))
    ended = project.run()
    assert (ended.code, ended.destination()["sent"]) == (0, EVENTS)
    assert sorted(arrived(stand_in.received("bloomreach"))) == list(range(1, EVENTS + 1))


def test_what_batch_has_got_and_what_is_in_doubt_is_everything(project: QuickProject, stand_in: RunningSandbox) -> None:
    project.csv(numbered(EVENTS, users=997))
    settings = {"chunk": 20, "timeout": "300ms", "rate": "100000/s", "concurrency": 16}
    project.mapping(simple_mapping({**credentials("batch", stand_in.url), **settings}))
    # Nothing that Batch asks five seconds for, so that the test ends.
    stand_in.faults(faults(KINDS[1:]))
    code = 5
    while code == 5:
        # Many answers lost one after another stop a run.
        ended = project.run()
        code = ended.code
    events = ended.destination()
    assert (code, events["pending"]) == (7, 0)
    assert events["sent"] + events["in_doubt"] == EVENTS
    numbers = arrived(stand_in.received("batch"))
    assert len(numbers) == len(set(numbers)), "nothing was sent again unasked"
    assert events["sent"] <= len(numbers) <= EVENTS
    stand_in.faults([])
    assert project.loader("resolve", "load.yaml", "--resend").code == 0
    assert project.run().destination()["sent"] == EVENTS
    assert set(arrived(stand_in.received("batch"))) == set(range(1, EVENTS + 1))
