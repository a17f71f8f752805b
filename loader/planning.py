"""A plan: rows are read, mapped, checked and staged on disk, before the first event leaves.

    find files ──► read frames ──► map ──► stage ──► hold the source to what is expected ──► commit

`plan_new` tells it; `plan_again` stages events of an earlier plan once more. A plan that is not committed leaves
nothing: no file counts as loaded, no cursor is moved.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from loader.checkpoint import Checkpoint, Row, left_to_retry
from loader.errors import NoFileMatches, SourceError, StateError, UsageError
from loader.mapping import Bound, Kept, Mapped, Mapping, StandIns, bind
from loader.plan import (
    MaxRejected,
    Planner,
    ahead,
    beside,
    hold_to,
    keep_files,
    later,
    open_part,
    pruned,
    read_ahead,
    restage,
    standing,
)
from loader.report.words import plural
from loader.sending import Progress
from loader.settings import CursorValue, SqlSettings, cursor_to_text
from loader.sources import Frame, Input, begun, find_files, open_source
from loader.sources.ledger import new_files
from loader.state import discard_others, new_run, run_folder


class Watch(Progress, Protocol):
    """Somebody who watches a command."""

    def planning(self, rows: int, rejected: int) -> None:
        """So many rows were read and rejected so far."""

    def delivering(self, destination: str, events: int, run: str) -> None:
        """The delivery of so many events of a run begins."""

    def say(self, line: str) -> None:
        """Something worth a line."""


@dataclass(frozen=True)
class Options:
    """What the command line adds to a mapping. `expect`: whether the source is held to its `expect:`. `stand_ins`:
    settings of the sandbox, see `mapping.read`."""

    watch: Watch
    state: Path | None = None
    again: bool = False
    stop_after: int | None = None
    max_rejected: MaxRejected | None = None
    expect: bool = True
    stand_ins: StandIns | None = None


@dataclass(frozen=True)
class Again:
    """What `retry` sends again: events rejected for `reasons`, of one run or all; `written`: also those whose rows
    `rejects --output` wrote to a file."""

    reasons: Sequence[str]
    run: str | None = None
    written: bool = False


def plan_new(
    mapping: Mapping,
    checkpoint: Checkpoint,
    folder: Path,
    options: Options,
    *,
    resumed: bool = False,
    on_rows: Callable[[], None] = lambda: None,
) -> Row | None:
    """Read every row, map it, check it and stage it; the new run, or None where there is nothing new.

    `resumed`: a run was finished before, so that nothing new beside it is no surprise. `on_rows` is told when rows
    begin to be read.
    """
    began, say = time.monotonic(), options.watch.say
    expect = mapping.source.expect if options.expect else None
    # With --again it tells nothing but how far the cursor must not fall back.
    stood = standing(checkpoint, mapping.source.cursor, again=options.again)
    before = [] if options.again else checkpoint.rows_before()
    names = [destination.name for destination in mapping.destinations]
    if stood is not None and not options.again:
        known = checkpoint.known_destinations()
        for name in names:
            if name not in known:
                say(
                    f"{name} is new and gets what is above the cursor ({stood}); load the rows before with a mapping "
                    "of its own"
                )
    run = _new_name(checkpoint)
    # No destination has such a name: parts lie beside it.
    copies = run_folder(folder, run) / "_copies"
    try:
        try:
            files = find_files(mapping.source, copies)
        except NoFileMatches as error:
            # Where those that were loaded are moved away, this is a night like any other.
            if not checkpoint.knows_files():
                raise
            say(str(error))
            files = list(error.found)
        new = new_files(
            files, checkpoint, names, again=options.again, told_by=_told_by(mapping),
            settle=0.0 if isinstance(mapping.source, SqlSettings) else mapping.source.settle,
        )  # fmt: skip
        for line in new.notes:
            say(line)
        if not new.inputs and not isinstance(mapping.source, SqlSettings):
            hold_to(None if resumed else expect, 0, before, say)
            raise _NothingNewError
        source = open_source(
            mapping.source,
            new.to_open if mapping.source.type == "jsonl" else new.inputs,
            timezone=mapping.timezone,
            cursor=None if options.again else stood,
            used=mapping.used_columns(),
            ids=mapping.has_ids,
        )
        with closing(source), checkpoint.writing() as transaction:
            frames = source.frames(new.inputs) if files else begun(source.frames())
            if frames is None:
                # Without a row, some databases do not tell the types that the mapping is checked against.
                hold_to(None if resumed else expect, 0, before, say)
                say("the query gave no row" + ("" if stood is None else f" above the cursor {stood}"))
                raise _NothingNewError
            bound = bind(mapping, source.columns)
            planner = Planner(
                run, run_folder(folder, run), bound.destinations, transaction, again=options.again,
                digest=not files and not mapping.tells_new_rows, keep_rows=not files,
            )  # fmt: skip
            hashing = beside(lambda: [item.digest() for item in new.inputs])
            ahead_of = read_ahead(_mapped(read_ahead(frames), bound))
            with planner, hashing, closing(ahead_of) as mapped:
                on_rows()
                for frame, kept, events in mapped:
                    planner.count(frame, kept)
                    planner.add(kept.rows, events, new.delivered_of(frame.input))
                    options.watch.planning(planner.read, planner.rejected)
                planner.finish()
            if new.inputs:
                used = mapping.used_columns()
                how: dict[str, Any] = {"source": mapping.source.model_dump(mode="json", exclude=_NOT_READING)}
                how |= {"timezone": mapping.timezone, "used": None if used is None else sorted(used)}
                keep_files(run_folder(folder, run), how, new.inputs)
                shutil.rmtree(copies, ignore_errors=True)
            hold_to(expect, planner.read - planner.filtered, before, say)
            planner.refuse_late_events()
            if options.max_rejected is not None:
                options.max_rejected.check(planner.rejected, planner.read, planner.reasons())
            reached = later(stood, source.cursor)
            _say_what_was_odd(planner, new.inputs, reached, options.watch)
            if planner.read == planner.filtered and not files and reached == stood:
                raise _NothingNewError
            if planner.digests is not None and not options.again:
                _compare_with_before(checkpoint, planner.digests)
            loaded = planner.commit(
                mapping=mapping.name,
                mapping_digest=mapping.digest,
                inputs=new.inputs,
                seconds=time.monotonic() - began,
            )
            if loaded and reached is not None and reached != stood and mapping.source.cursor is not None:
                checkpoint.move_cursor(mapping.source.cursor.column, cursor_to_text(reached), run)
    except BaseException as error:
        # A signal that came with the commit finds the plan made; where that is not known, the next run looks again.
        with contextlib.suppress(StateError):
            if checkpoint.run(run) is None:
                shutil.rmtree(run_folder(folder, run), ignore_errors=True)
        if isinstance(error, _NothingNewError):
            return None
        raise
    return checkpoint.run(run)


def _say_what_was_odd(planner: Planner, inputs: Sequence[Input], reached: CursorValue | None, watch: Watch) -> None:
    """What nobody sees at night: files without rows, and a cursor that leaves behind what is to come."""
    for item in inputs:
        if not planner.rows_of(item):
            watch.say(f"{item.path} gave no row")
    if ahead(reached):
        watch.say(
            f"the cursor stands at {reached}, which is yet to come: rows below it are not taken any more. "
            "Where this is a mistake of the source, mend it there, then `loader cursor MAPPING --set VALUE`"
        )


# Settings of a source that say nothing about how its files are read.
_NOT_READING = {"path", "cursor", "expect", "settle"}


def _told_by(mapping: Mapping) -> str | None:
    """What tells new rows from old ones in a file that has changed, in words; None: nothing."""
    if mapping.has_ids:
        return "events whose id was delivered are not sent again"
    return None if mapping.source.cursor is None else "only rows above the cursor are taken"


def plan_instead(checkpoint: Checkpoint, old: str, new: Callable[[], Row | None]) -> Row | None:
    """Make a `new` plan in the place of the run `old`, of which nothing was sent; what `new` gives."""
    # All in one, so that the plan of before is still there where a new one cannot be made.
    with checkpoint.writing():
        checkpoint.forget(old)
        return new()


def _new_name(checkpoint: Checkpoint) -> str:
    runs = checkpoint.all_runs()
    return new_run(runs[-1]["run"] if runs else None)


def plan_again(mapping: Mapping, checkpoint: Checkpoint, folder: Path, again: Again, watch: Watch) -> list[str]:
    """Plan rejected events once more: a run for each earlier run and destination, all or none; their names.

    Raises UsageError where all that is left was for destinations that the mapping no longer has.
    """
    left = []
    for earlier, planned, count in checkpoint.to_retry(again.reasons, again.run, written=_written(again)):
        gone_since = pruned(run_folder(folder, earlier["run"]))
        if gone_since is None:
            left.append((earlier, planned, count))
        else:
            watch.say(
                f"run {earlier['run']}: {plural(count, 'event')} to {planned['destination']} cannot be sent again: the "
                f"plan was pruned on {gone_since[:10]}"
            )
    for earlier, planned, count in [] if again.written else checkpoint.to_retry(again.reasons, again.run, written=True):
        watch.say(
            f"run {earlier['run']}: the rows of {plural(count, 'event')} to {planned['destination']} were written to a "
            "file by `loader rejects --output`, to be loaded from there; --written sends the events all the same"
        )
    wanted = [
        (earlier, planned, now) for earlier, planned, _ in left if (now := mapping.destination(planned)) is not None
    ]
    gone = [
        f"{plural(count, 'event')} of run {earlier['run']} to the destination '{planned['destination']}' "
        f"({planned['provider']}, route {planned['route']}) cannot be sent again: the mapping no longer has it"
        for earlier, planned, count in left
        if mapping.destination(planned) is None
    ]
    if gone and not wanted:
        raise UsageError(
            f"{'; '.join(gone)}. Bring it back, or write the rows to a file with `loader rejects --output`"
        )
    for line in gone:
        watch.say(line)
    runs: list[str] = []
    events = left_to_retry(again.reasons, written=_written(again))
    try:
        with checkpoint.writing() as transaction:
            # The newest first: of events with one id its version is the one to send.
            for earlier, planned, to in sorted(wanted, key=lambda one: str(one[0]["run"]), reverse=True):
                run = _new_name(checkpoint)
                old_parts, new_folder = partial(open_part, run_folder(folder, earlier["run"])), run_folder(folder, run)
                if restage(run, earlier, planned, to, events, old_parts, new_folder, transaction, siblings=runs):
                    runs.append(run)
    except BaseException:
        with contextlib.suppress(StateError):
            discard_others(folder, {row["run"] for row in checkpoint.all_runs()})
        raise
    return runs


def _written(again: Again) -> bool | None:
    return None if again.written else False


def _mapped(frames: Generator[Frame, None, None], bound: Bound) -> Iterator[tuple[Frame, Kept, list[Mapped]]]:
    """Each frame of the source, its rows that `where:` keeps, and what they become for each destination."""
    with closing(frames):
        for frame in frames:
            kept = bound.keep(frame.rows)
            yield frame, kept, [destination.events(kept.rows) for destination in bound.destinations]


def _compare_with_before(checkpoint: Checkpoint, digests: dict[str, str]) -> None:
    """Where nothing tells new rows of a query from old ones, only the same rows or none can be loaded twice safely."""
    before = checkpoint.plan_digests()
    if any(digests == old for _, old in before):
        raise _NothingNewError
    if before:
        raise SourceError(
            f"the query gives other rows than at run {before[0][0]}, and nothing tells which of them are new. "
            "Give each event an `id` (a customer has none), or the source a `cursor`, or send all rows with --again"
        )


class _NothingNewError(Exception):
    """The plan holds nothing that was not delivered before."""
