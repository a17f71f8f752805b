"""The totals of a run, and the proof that they add up (design, promise 1)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from loader.checkpoint import Checkpoint
from loader.errors import DoesNotAddUp


@dataclass(frozen=True)
class Rows:
    """read = filtered + rejected + events."""

    read: int = 0
    filtered: int = 0
    rejected: int = 0
    events: int = 0


@dataclass(frozen=True)
class Events:
    """total = already_delivered + rejected + sent + in_doubt + pending."""

    total: int = 0
    already_delivered: int = 0
    rejected: int = 0
    sent: int = 0
    in_doubt: int = 0
    pending: int = 0


@dataclass(frozen=True)
class DestinationTotals:
    """One destination of a run. `bytes`: of all request bodies as planned."""

    name: str
    provider: str
    route: str
    events: Events
    chunks: int
    requests: int
    tokens: int
    bytes: int


@dataclass(frozen=True)
class RunTotals:
    """One run. `reasons`: (destination, or '' for rows; reason) → rejections. `of`: the run whose refused events it
    sends again. `doubts`: (destination, why) → events."""

    run: str | None
    mapping: str
    status: str
    rows: Rows = Rows()
    destinations: tuple[DestinationTotals, ...] = ()
    seconds: float = 0.0
    reasons: dict[tuple[str, str], int] = field(default_factory=dict)
    created: str | None = None
    of: str | None = None
    doubts: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def rejected(self) -> int:
        """Rows and events that were rejected."""
        return self.rows.rejected + sum(d.events.rejected for d in self.destinations)

    @property
    def sent(self) -> int:
        """Events that were sent."""
        return sum(d.events.sent for d in self.destinations)

    @property
    def in_doubt(self) -> int:
        """Events in doubt."""
        return sum(d.events.in_doubt for d in self.destinations)

    @property
    def pending(self) -> int:
        """Events that are still to be sent."""
        return sum(d.events.pending for d in self.destinations)

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints (design, "Commands")."""
        shown = ("name", "provider", "events", "chunks", "requests", "tokens")
        return {
            "run": self.run,
            "mapping": self.mapping,
            "status": self.status,
            "rows": asdict(self.rows),
            "destinations": [
                {key: value for key, value in asdict(d).items() if key in shown} for d in self.destinations
            ],
            "seconds": round(self.seconds, 3),
        }


def totals(checkpoint: Checkpoint, run: str) -> RunTotals:
    """The totals of a run from the checkpoint. Raises DoesNotAddUp."""
    row = checkpoint.run(run)
    if row is None:
        raise DoesNotAddUp(f"run {run} is not in the checkpoint")
    settled = checkpoint.events_by_status(run)
    rows = Rows(row["rows_read"], row["rows_filtered"], row["rows_rejected"], row["events"])
    found = []
    for planned in checkpoint.destinations_of(run):
        name = planned["destination"]
        now = settled.get(name, {})
        events = Events(
            total=planned["events"],
            already_delivered=planned["already_delivered"],
            rejected=planned["rejected"] + now.get("refused", 0),
            sent=now.get("sent", 0),
            in_doubt=now.get("in_doubt", 0) + now.get("sending", 0),
            pending=now.get("pending", 0),
        )
        found.append(
            DestinationTotals(
                name,
                planned["provider"],
                planned["route"],
                events,
                now.get("chunks", 0),
                now.get("requests", 0),
                now.get("tokens", 0),
                planned["bytes"],
            )
        )
    result = RunTotals(
        run,
        row["mapping"],
        row["status"],
        rows,
        tuple(found),
        row["seconds"] or 0.0,
        checkpoint.reasons_of(run),
        row["created"],
        row["of"],
        # Looking for what is not there takes as long as all the others.
        checkpoint.doubts_of(run) if any(destination.events.in_doubt for destination in found) else {},
    )
    check(result)
    return result


def check(run: RunTotals) -> None:
    """Raises DoesNotAddUp with the numbers where they contradict each other."""
    rows = run.rows
    if rows.read != rows.filtered + rows.rejected + rows.events:
        raise DoesNotAddUp(
            f"run {run.run}: {rows.read} rows read are not {rows.filtered} filtered + {rows.rejected} rejected"
            f" + {rows.events} events"
        )
    counted: dict[str, int] = {}
    for (name, _), count in run.reasons.items():
        counted[name] = counted.get(name, 0) + count
    if counted.get("", 0) != rows.rejected:
        raise DoesNotAddUp(f"run {run.run}: {rows.rejected} rows rejected, but {counted.get('', 0)} reasons")
    for destination in run.destinations:
        e = destination.events
        parts = e.already_delivered + e.rejected + e.sent + e.in_doubt + e.pending
        if e.total != parts or e.total != rows.events:
            raise DoesNotAddUp(
                f"run {run.run}, {destination.name}: of {rows.events} events {parts} are accounted for: {e}"
            )
        if counted.get(destination.name, 0) != e.rejected:
            raise DoesNotAddUp(
                f"run {run.run}, {destination.name}: {e.rejected} events rejected,"
                f" but {counted.get(destination.name, 0)} reasons"
            )
