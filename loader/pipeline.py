"""The whole story, in the order in which data flows.

    source ──► mapping ──► checks, chunks ──► plan on disk ──► sending ──► provider
                      ↘ rejections                              ↕
                              checkpoint: intent, receipt, token

`run` tells it: finish what is unfinished, plan what is new (`planning`), deliver the plan (`_deliver`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from loader.checkpoint import FINISHED, Checkpoint, Row
from loader.errors import Exit, Interrupted, LoaderError, StateError, UsageError
from loader.mapping import Destination, Mapping, read
from loader.plan import audit, forget_rows, open_part
from loader.planning import Again, Options, plan_again, plan_instead, plan_new
from loader.report.totals import RunTotals, totals
from loader.sending import Target, deliver_run, prepare
from loader.sources import reading_again
from loader.state import discard_others, hold, run_folder, state_folder

__all__ = ["Again", "Options", "Result", "plan", "retry", "run"]


@dataclass(frozen=True)
class Result:
    """What a command did: the run it ended with, the runs it finished before, and what stopped it."""

    run: RunTotals
    before: list[RunTotals] = field(default_factory=list)
    error: LoaderError | None = None
    doubts_left: bool = False

    @property
    def exit_code(self) -> Exit:
        """How the process ends (design, "Commands")."""
        if self.error is not None:
            return self.error.exit_code
        if self.doubts_left:
            return Exit.IN_DOUBT
        return Exit.REJECTED if any(run.rejected for run in [self.run, *self.before]) else Exit.DONE


def run(path: Path, options: Options) -> Result:
    """Finish what is unfinished of the mapping's runs, then load what is new.

    Raises LoaderError where nothing was sent; what stops a delivery stands in the result.
    """
    mapping = read(path, stand_ins=options.stand_ins)
    with hold(state_folder(mapping.path, options.state)) as folder:
        checkpoint = _open(folder, mapping)
        return _noted(checkpoint, lambda: _run(mapping, checkpoint, folder, options))


def _run(mapping: Mapping, checkpoint: Checkpoint, folder: Path, options: Options) -> Result:
    before, stopped, left = _finish_unfinished(mapping, checkpoint, folder, options)
    if stopped is not None:
        return stopped
    error = None
    try:
        planning = partial(plan_new, mapping, checkpoint, folder, options, resumed=bool(before), on_rows=prepare)
        planned = reading_again(planning, options.watch.say)
    except LoaderError as failure:
        if not before:
            raise
        planned, error = None, failure
    if planned is not None:
        result = _deliver(mapping, checkpoint, folder, planned, replace(options, stop_after=left))
        return Result(result.run, before, result.error, result.doubts_left)
    return _nothing_more(mapping, checkpoint, before, error)


def _nothing_more(
    mapping: Mapping, checkpoint: Checkpoint, done: list[RunTotals], error: LoaderError | None = None
) -> Result:
    doubts_left = bool(checkpoint.in_doubt())
    if done:
        return Result(done[-1], done[:-1], error, doubts_left)
    return Result(RunTotals(None, mapping.name, "nothing_new"), doubts_left=doubts_left)


def _noted(checkpoint: Checkpoint, do: Callable[[], Result]) -> Result:
    """What `do` gives or raises; how it ended is kept for those who ask in the morning."""
    checkpoint.ended(None, None)
    try:
        result = do()
    except LoaderError as error:
        with contextlib.suppress(StateError):
            checkpoint.ended(None, error.exit_code, str(error))
        raise
    with contextlib.suppress(StateError):
        checkpoint.ended(result.run.run, result.exit_code, None if result.error is None else str(result.error))
    return result


def retry(path: Path, options: Options, again: Again) -> Result:
    """Send events again that were rejected after they were planned, as they were planned; finish what is unfinished
    first. Raises like `run`."""
    mapping = read(path)
    with hold(state_folder(mapping.path, options.state)) as folder:
        checkpoint = _open(folder, mapping)
        # All of them before the first is sent: what is refused from now on waits for another retry, and one that is
        # stopped goes on as any run does.
        planned = plan_again(mapping, checkpoint, folder, again, options.watch)

        def deliver() -> Result:
            done, stopped, _ = _finish_unfinished(mapping, checkpoint, folder, options, planned)
            return _nothing_more(mapping, checkpoint, done) if stopped is None else stopped

        return _noted(checkpoint, deliver)


def plan(path: Path, options: Options) -> Result:
    """Stage what is new without sending. A plan of which nothing was sent is made anew; one that was begun, or that
    sends events again, is shown."""
    mapping = read(path, credentials="optional", stand_ins=options.stand_ins)
    with hold(state_folder(mapping.path, options.state)) as folder:
        checkpoint = _open(folder, mapping)
        unfinished = checkpoint.unfinished()
        new = partial(plan_new, mapping, checkpoint, folder, options)
        if unfinished is None:
            planned = reading_again(new, options.watch.say)
        elif unfinished["of"] is None and checkpoint.untouched(unfinished["run"]):
            planned = reading_again(partial(plan_instead, checkpoint, unfinished["run"], new), options.watch.say)
        else:
            planned = unfinished
        if planned is None:
            return Result(RunTotals(None, mapping.name, "nothing_new"))
        return Result(totals(checkpoint, planned["run"]))


def _finish_unfinished(
    mapping: Mapping, checkpoint: Checkpoint, folder: Path, options: Options, new: Sequence[str] = ()
) -> tuple[list[RunTotals], Result | None, int | None]:
    """Deliver what runs of before, or those that are `new`, have left; which are finished now, what stopped one, and
    how many events may still be sent (None: any number)."""
    before: list[RunTotals] = []
    left = options.stop_after
    while (unfinished := checkpoint.unfinished()) is not None:
        if unfinished["run"] not in new:
            options.watch.say(f"going on with run {unfinished['run']} of {unfinished['created']}")
        prepare()
        _prove(checkpoint, folder, unfinished["run"])
        if left == 0:
            stopped = Result(totals(checkpoint, unfinished["run"]), before, None, bool(checkpoint.in_doubt()))
            return before, stopped, left
        sent = totals(checkpoint, unfinished["run"]).sent
        resumed = _deliver(mapping, checkpoint, folder, unfinished, replace(options, stop_after=left))
        if left is not None:
            left = max(0, left - (resumed.run.sent - sent))
        if resumed.error is not None or resumed.run.status not in FINISHED:
            return before, replace(resumed, before=before), left
        before.append(resumed.run)
    return before, None, left


def _open(folder: Path, mapping: Mapping) -> Checkpoint:
    checkpoint = Checkpoint.open(folder, mapping.name)
    checkpoint.claim(mapping.path.absolute())
    # A plan that was cut short was never committed, so its folder is all there is of it.
    discard_others(folder, {row["run"] for row in checkpoint.all_runs()})
    return checkpoint


def _deliver(mapping: Mapping, checkpoint: Checkpoint, folder: Path, planned: Row, options: Options) -> Result:
    """Send what is pending of a run, and say how it stands."""
    run, began = planned["run"], time.monotonic()
    if planned["mapping_digest"] != mapping.digest:
        options.watch.say(
            "the mapping has changed since this run was planned; its events are sent as they were planned"
        )
    checkpoint.doubt_what_was_in_flight(run)
    targets = _targets(mapping, checkpoint, run)
    for target in targets:
        pending = checkpoint.pending(run, target.name)
        warning = target.route.warning(pending)
        if warning is not None:
            options.watch.say(f"{target.name}: {warning}")
        options.watch.delivering(target.name, pending, run)

    checkpoint.begin(run)
    rejected = totals(checkpoint, run).rejected

    def on_rejected(count: int) -> None:
        nonlocal rejected
        rejected += count
        if options.max_rejected is not None:
            options.max_rejected.check(rejected, planned["rows_read"])

    error = deliver_run(
        checkpoint, targets, partial(open_part, run_folder(folder, run)), options.watch, on_rejected, options.stop_after
    )
    if isinstance(error, StateError) and not checkpoint.untouched(run):
        # Exit 2 would say that nothing was sent. What is needed is the same as after an outage: mend, then run again.
        error.exit_code = Exit.UNREACHABLE
    try:
        # After a second signal, or where a receipt could not be written.
        checkpoint.doubt_what_was_in_flight(run)
        _prove(checkpoint, folder, run)
        _conclude(checkpoint, run, error, resent={t.name for t in targets if t.in_doubt == "resend"}, began=began)
    except StateError:
        if error is None:
            raise
    now = totals(checkpoint, run)
    if now.status == "done" and not now.rejected:
        forget_rows(run_folder(folder, run))
    return Result(now, [], error, bool(checkpoint.in_doubt()))


def _prove(checkpoint: Checkpoint, folder: Path, run: str) -> None:
    """Raise DoesNotAddUp where the numbers of a run contradict each other or its plan."""
    totals(checkpoint, run)
    audit(checkpoint, run, run_folder(folder, run))


def _conclude(checkpoint: Checkpoint, run: str, error: LoaderError | None, *, resent: set[str], began: float) -> None:
    """Write down how a run stands. One with nothing left to send is finished, whatever stopped it.

    `resent`: destinations whose events in doubt are sent again without being asked.
    """
    now, seconds = totals(checkpoint, run), time.monotonic() - began
    if not now.pending and not any(d.events.in_doubt for d in now.destinations if d.name in resent):
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        checkpoint.set_status(run, "in_doubt" if now.in_doubt else "done", finished, seconds)
    elif error is None:
        checkpoint.set_status(run, "paused", None, seconds)
    else:
        checkpoint.set_status(run, "interrupted" if isinstance(error, Interrupted) else "stopped", None, seconds)


def _targets(mapping: Mapping, checkpoint: Checkpoint, run: str) -> list[Target]:
    """The destinations of a run, with the settings that the mapping gives them now."""
    targets = []
    for planned in checkpoint.destinations_of(run):
        if not checkpoint.pending(run, planned["destination"]) and not mapping.destination(planned):
            continue
        now = _destination(mapping, planned)
        policy = now.settings.in_doubt or planned["in_doubt"]
        targets.append(Target(run, now.name, now.provider, now.route, now.settings, policy))
    return targets


def _destination(mapping: Mapping, planned: Row) -> Destination:
    """`_known`. Raises UsageError where there is none."""
    now = mapping.destination(planned)
    if now is None:
        raise UsageError(
            f"run {planned['run']} was planned for the destination '{planned['destination']}' ({planned['provider']}, "
            f"route {planned['route']}), which the mapping no longer has. "
            "Bring it back, or drop the rest with `loader cancel`"
        )
    return now
