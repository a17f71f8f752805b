"""What `loader doctor` looks at, in the order in which a run would meet it. Nothing is sent, kept or changed.

mapping ─► credentials ─► state, runs ─► source ─► disk ─► each provider, clock
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from loader.checkpoint import VERSION, Checkpoint
from loader.errors import Exit, LoaderError, MappingError, NoFileMatches
from loader.mapping import Mapping, bind, read
from loader.plan import audit, open_part, standing
from loader.providers.base import DestinationSettings
from loader.report.totals import totals
from loader.report.words import command, one_line, plural, size
from loader.sending import Reached, reach
from loader.sources import Input, found_files, open_source
from loader.state import hold, holder, run_folder, state_folder

# Seconds: a provider with a window for times (the last 24 hours, never the future) allows for a minute on the way.
MOST_SECONDS_OFF = 30.0
LEAST_FREE = 16_000_000
# Bytes of a plan for each byte of a source's file, about: JSON text, packed; and of a file that is packed itself.
_PLAN, _UNPACKED_PLAN = 2, 10


@dataclass(frozen=True)
class Finding:
    """What one check found. `exit_code`: how a run would end because of a problem."""

    check: str
    status: Literal["ok", "warning", "problem"]
    message: str
    exit_code: Exit = Exit.DONE


def ok(check: str, message: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", message)


def warning(check: str, message: str) -> Finding:
    """Something that a person should know; a run goes on all the same."""
    return Finding(check, "warning", message)


def problem(check: str, error: LoaderError | str, exit_code: Exit = Exit.WRONG) -> Finding:
    """Something that would end a run."""
    return Finding(check, "problem", str(error), error.exit_code if isinstance(error, LoaderError) else exit_code)


def examine(path: Path, state: Path | None) -> Iterator[Finding]:
    """Examine the mapping at `path`, one finding after the other. What is wrong is a finding, not an error."""
    mapping, found = _mapping(path)
    yield from found
    folder = state_folder(path.absolute(), state)
    checkpoint, found = _state(folder)
    yield from found
    if checkpoint is not None:
        yield from _runs(checkpoint, folder, path, state)
    expected = 0
    if mapping is not None:
        finding, expected = _source(mapping, checkpoint, path)
        yield finding
    yield _disk(folder, expected)
    if checkpoint is not None:
        checkpoint.close()
    if mapping is not None:
        yield from _providers(mapping)


def _mapping(path: Path) -> tuple[Mapping | None, list[Finding]]:
    """The mapping, without its credentials if need be, or None where it cannot be read."""
    lacking: MappingError | None = None
    try:
        try:
            mapping = read(path)
        except MappingError as error:
            lacking = error
            mapping = read(path, credentials="optional")
    except LoaderError as error:
        # Of two, the one that `loader check` tells.
        return None, [problem("mapping", lacking or error)]
    names = ", ".join(destination.name for destination in mapping.destinations)
    found = [ok("mapping", f"{path}: {plural(len(mapping.destinations), 'destination')} ({names})")]
    if lacking is not None:
        return mapping, [*found, problem("credentials", lacking)]
    given = []
    for destination in mapping.destinations:
        own = set(destination.provider.settings.model_fields) - set(DestinationSettings.model_fields)
        keys = sorted(own & destination.settings.model_fields_set)
        given.append(f"{destination.name} has {', '.join(keys)}")
    return mapping, [*found, ok("credentials", "; ".join(given) + " (the provider has not been asked)")]


def _state(folder: Path) -> tuple[Checkpoint | None, list[Finding]]:
    """The checkpoint for reading, if there is one, and what is to be said of its folder."""
    at = _nearest(folder)
    try:
        # Beside the state, which stays as it is: a run that begins now must not find it held.
        with TemporaryDirectory(prefix=".doctor-", dir=at) as scratch, hold(Path(scratch) / "state") as tried:
            Checkpoint.open(tried, "doctor").close()
    except (OSError, LoaderError) as error:
        cause = str(error) if isinstance(error, LoaderError) else f"{at} cannot be written: {error.strerror}"
        return None, [problem("state", f"{cause}. Check its owner and permissions, or choose another with --state")]
    try:
        checkpoint = Checkpoint.find(folder)
    except LoaderError as error:
        return None, [problem("state", error)]
    found = [ok("state", f"{folder} can be written and locked; nothing was run yet")]
    if checkpoint is not None:
        runs = plural(len(checkpoint.all_runs()), "run")
        words = f"{folder} can be written and locked; the checkpoint (version {VERSION}) is whole, with {runs}"
        found = [ok("state", words)]
    held = holder(folder)
    if held is not None:
        found.append(problem("lock", f"{held} holds the state; a run that begins now would not wait for it", Exit.HELD))
    return checkpoint, found


def _nearest(folder: Path) -> Path:
    """`folder`, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _runs(checkpoint: Checkpoint, folder: Path, path: Path, state: Path | None) -> Iterator[Finding]:
    """Runs that are not finished, and whether their numbers are those of their plans."""
    if holder(folder) is not None:
        return
    try:
        unfinished, doubts = checkpoint.unfinished(), checkpoint.in_doubt()
        newest = [row["run"] for row in checkpoint.all_runs()][-1:]
        looked_at = {*newest, *doubts, *([unfinished["run"]] if unfinished is not None else [])}
        for run in sorted(looked_at):
            totals(checkpoint, run)
            audit(checkpoint, run, run_folder(folder, run))
        if unfinished is not None:
            _open_all(checkpoint, folder, unfinished["run"])
            pending = totals(checkpoint, unfinished["run"]).pending
            words = f"run {unfinished['run']} is not finished: the next run sends its {plural(pending, 'event')} first"
            yield warning("runs", words)
        if doubts:
            decide = command("resolve", path, "--skip", state=state)
            yield warning("runs", f"{', '.join(doubts)}: chunks are in doubt; decide, such as with `{decide}`")
        if looked_at and unfinished is None and not doubts:
            yield ok("runs", "all are finished, nothing is in doubt, and the newest adds up")
    except LoaderError as error:
        yield problem("runs", error)


def _open_all(checkpoint: Checkpoint, folder: Path, run: str) -> None:
    """Read the parts of a run of which something is still to be sent. Raises StateError where one is lost."""
    for planned in checkpoint.destinations_of(run):
        for part in checkpoint.part_starts(run, planned["destination"], ["pending", "in_doubt"]):
            open_part(run_folder(folder, run), planned["destination"], part)


def _source(mapping: Mapping, checkpoint: Checkpoint | None, path: Path) -> tuple[Finding, int]:
    """What the beginning of the source is like, and how many bytes the plan of what is new may take."""
    try:
        stood = None if checkpoint is None else standing(checkpoint, mapping.source.cursor)
        with found_files(mapping.source) as inputs:
            new = [file for file in inputs if not _known(file, checkpoint)]
            source = open_source(
                mapping.source,
                inputs,
                timezone=mapping.timezone,
                cursor=stood,
                used=mapping.used_columns(),
            )
            with closing(source):
                bound = bind(mapping, source.columns)
                frame = next(iter(source.frames(new or None)), None)
                events = rows = filtered = 0
                if frame is not None:
                    kept = bound.keep(frame.rows)
                    rows = len(frame.rows) + len(frame.rejected) + frame.filtered
                    filtered = frame.filtered + kept.filtered
                    events = max(len(destination.events(kept.rows).events) for destination in bound.destinations)
    except LoaderError as error:
        if isinstance(error, NoFileMatches) and checkpoint is not None and checkpoint.knows_files():
            return warning("source", f"{error}; files were loaded before, so that a run finds nothing new"), 0
        return problem("source", error), 0
    words = f"{plural(len(source.columns), 'column')}, {_rows_words(rows, filtered, events)}"
    if inputs:
        # A server may not say how long a file is.
        total = size(sum(max(0, file.size) for file in new))
        words = f"{plural(len(inputs), 'file')} ({len(new):,} new, {total}); {words}"
    expected = sum(_plan_bytes(file) for file in new)
    if rows > filtered and not events:
        return warning("source", f"{words}; see why with `{command('preview', path)}`"), expected
    return ok("source", words), expected


def _known(file: Input, checkpoint: Checkpoint | None) -> bool:
    """Whether a file was loaded as it lies there; one that was only moved counts as new here."""
    before = [] if checkpoint is None else checkpoint.files_by("path", file.path)
    return any((f["size"], f["mtime_ns"], f["inode"]) == (file.size, file.mtime_ns, file.inode) for f in before)


def _rows_words(rows: int, filtered: int, events: int) -> str:
    if not rows:
        return "no row to load"
    left_out = f" ({filtered:,} filtered)" if filtered else ""
    return f"{plural(events, 'event')} of the first {plural(rows, 'row')}{left_out}"


def _plan_bytes(file: Input) -> int:
    packed = file.path.endswith((".gz", ".zst"))
    copy = 1 if file.remote else 0
    return max(0, file.size) * ((_UNPACKED_PLAN if packed else _PLAN) + copy)


def _disk(folder: Path, expected: int) -> Finding:
    """Whether the plan of what is new has room: as much as its files suggest, or as the largest of those kept."""
    largest = max((_bytes(run) for run in (folder / "runs").glob("*")), default=0)
    free, needed = shutil.disk_usage(_nearest(folder)).free, max(expected, largest)
    why = "what is new in the source suggests" if expected >= largest else "the largest plan so far took"
    words = f"{size(free)} are free for the state" + (f"; {why} {size(needed)}" if needed else "")
    if free < LEAST_FREE:
        return problem("disk", f"{words}. Free some, or choose another folder with --state")
    if free < needed:
        return warning("disk", f"{words}. Free some, prune runs, or choose another folder with --state")
    return ok("disk", words)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _providers(mapping: Mapping) -> Iterator[Finding]:
    """Whether each provider answers, and what its clock says of ours."""
    addresses = {d.name: d.settings.base_url or d.provider.base_url for d in mapping.destinations}
    ahead: dict[str, float] = {}
    for name, reached in reach(addresses).items():
        if isinstance(reached, str):
            cure = "Check the `base_url`, the network, the firewall and the proxy (HTTPS_PROXY)"
            if "certificate" in reached.lower() or "ssl" in reached.lower().replace("ssl:default", ""):
                cure = "Check the certificates of this machine (SSL_CERT_FILE), and who opens its traffic on the way"
            words = f"{addresses[name]} cannot be reached: {one_line(reached)}. {cure}"
            yield problem(name, words, Exit.UNREACHABLE)
            continue
        yield _answered(name, addresses[name], reached)
        if reached.ahead is not None:
            ahead[name] = reached.ahead
    if ahead:
        yield _clock(*max(ahead.items(), key=lambda item: abs(item[1])))


def _answered(name: str, address: str, reached: Reached) -> Finding:
    words = f"{address} answers in {reached.seconds:.2f} s (HTTP {reached.status}, without credentials)"
    if reached.status == 407:
        return problem(name, f"the proxy before {address} wants credentials (HTTP 407)", Exit.UNREACHABLE)
    if reached.status >= 500:
        return warning(name, f"{words}; a server that fails like this may refuse events, too")
    return ok(name, words)


def _clock(name: str, ahead: float) -> Finding:
    words = f"this machine's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} that of {name}"
    if abs(ahead) > MOST_SECONDS_OFF:
        return warning("clock", f"{words}; set it (NTP), or times of events are judged wrongly")
    return ok("clock", words)


def exit_code(findings: list[Finding]) -> Exit:
    """How a run would end: with what it meets first."""
    return next(chain((f.exit_code for f in findings if f.status == "problem"), [Exit.DONE]))
