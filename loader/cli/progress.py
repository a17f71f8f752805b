"""Progress on stderr: bars on a terminal, elsewhere a line every few seconds, a log with `LOADER_LOG`, or nothing.

This file alone imports tqdm. All classes are a `loader.planning.Watch`.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self

from tqdm import tqdm

from loader.cli.output import log, log_words
from loader.report.words import duration, one_line, plural

SECONDS_BETWEEN_LINES = 5.0


@dataclass
class Delivery:
    """How far a destination is. Times are of `time.monotonic`."""

    total: int
    began: float = field(default_factory=time.monotonic)
    sent: int = 0
    rejected: int = 0
    in_doubt: int = 0
    retries: int = 0
    waits_until: float = 0.0
    because: str = ""

    @property
    def settled(self) -> int:
        """Events that need nothing more."""
        return self.sent + self.rejected + self.in_doubt

    def rate(self, now: float) -> float:
        """Events settled a second, since the delivery began."""
        return self.settled / max(now - self.began, 1e-3)

    def left(self, now: float) -> float | None:
        """Seconds that the rest takes at this rate; None before anything is settled."""
        return (self.total - self.settled) / self.rate(now) if self.settled else None

    def words(self, now: float) -> str:
        """One line, without the destination's name."""
        parts = [f"{self.sent:,} of {plural(self.total, 'event')} sent", f"{self.rate(now):,.0f}/s"]
        if self.rejected:
            parts.append(f"{self.rejected:,} rejected")
        if self.in_doubt:
            parts.append(f"{self.in_doubt:,} in doubt")
        if self.retries:
            parts.append("1 retry" if self.retries == 1 else f"{self.retries:,} retries")
        left = self.left(now)
        if self.waits_until > now:
            parts.append(f"waits {duration(self.waits_until - now)} ({one_line(self.because, 80)})")
        elif left is not None and self.settled < self.total:
            parts.append(f"about {duration(left)} left")
        return ", ".join(parts)


class Silent:
    """Counts and says nothing. Base of the others; a context manager that takes the bars away when it ends."""

    def __init__(self, mapping: str) -> None:
        self.mapping = mapping
        self.rows = self.rows_rejected = 0
        self.deliveries: dict[str, Delivery] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def sending(self) -> bool:
        """Whether a delivery has begun."""
        return bool(self.deliveries)

    def close(self) -> None:
        """Take everything away that is not for keeping."""

    def planning(self, rows: int, rejected: int) -> None:
        """See `planning.Watch`."""
        self.rows, self.rows_rejected = rows, rejected

    def delivering(self, destination: str, events: int, run: str) -> None:
        """See `planning.Watch`."""
        self.deliveries[destination] = Delivery(events)

    def advance(self, destination: str, *, sent: int = 0, rejected: int = 0, in_doubt: int = 0) -> None:
        """See `sending.Progress`."""
        now = self.deliveries[destination]
        now.sent, now.rejected, now.in_doubt = now.sent + sent, now.rejected + rejected, now.in_doubt + in_doubt

    def retrying(self, destination: str, seconds: float, message: str, chunk: int) -> None:
        """See `sending.Progress`."""
        now = self.deliveries[destination]
        now.retries, now.waits_until, now.because = now.retries + 1, time.monotonic() + seconds, message

    def found_rate(self, destination: str, rate: float) -> None:
        """See `sending.Progress`."""
        words = f"{rate:.0f}/s" if rate >= 10 else f"{rate * 60:.0f}/min"
        self.say(
            f"{destination}: no rate is published; about {words} were taken before more was refused. "
            f"`rate: {words}` in the mapping begins with that"
        )

    def say(self, line: str) -> None:
        """See `planning.Watch`."""


class Lines(Silent):
    """A line every few seconds for each part of the work that is under way. `machine`: every event, too, for a log.
    `debug`: what the packages of the loader log besides, such as each request."""

    def __init__(
        self, mapping: str, *, machine: bool = False, debug: bool = False, interval: float = SECONDS_BETWEEN_LINES
    ) -> None:
        super().__init__(mapping)
        self._machine, self._interval = machine, interval
        self._run: str | None = None
        self._handler = _Handler(self) if debug else None
        if self._handler is not None:
            _logger.addHandler(self._handler)
            _logger.setLevel(logging.DEBUG)
            _logger.propagate = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No more lines."""
        self._ended.set()
        self._thread.join()
        if self._handler is not None:
            _logger.removeHandler(self._handler)
            _logger.setLevel(logging.NOTSET)
            self._handler = None

    def say(self, line: str) -> None:
        """A line at once."""
        self.write(line, "message", message=line)

    def delivering(self, destination: str, events: int, run: str) -> None:
        """The delivery begins; a log says so."""
        super().delivering(destination, events, run)
        self._run = run
        if self._machine:
            words = f"{destination} run {run} begins with {plural(events, 'event')}"
            self.write(words, "delivering", destination=destination, events=events)

    def retrying(self, destination: str, seconds: float, message: str, chunk: int) -> None:
        """A log has every retry, people are told with the next line."""
        super().retrying(destination, seconds, message, chunk)
        if self._machine:
            fields = {"destination": destination, "chunk": chunk, "seconds": round(seconds, 3), "message": message}
            words = f"{destination} chunk {chunk} waits {duration(seconds)} ({one_line(message, 80)})"
            self.write(words, "retrying", level="warning", **fields)

    def _work(self) -> None:
        # Lines come by the clock: a destination that waits for minutes is what a reader wants to know of.
        while not self._ended.wait(self._interval):
            self.report()

    def report(self) -> None:
        """A line about everything that is under way."""
        now = time.monotonic()
        active = {name: d for name, d in list(self.deliveries.items()) if d.settled < d.total}
        for name, d in active.items():
            numbers: dict[str, Any] = {"total": d.total, "sent": d.sent, "rejected": d.rejected, "in_doubt": d.in_doubt}
            numbers |= {"retries": d.retries, "events_per_second": round(d.rate(now))}
            self.write(f"{name} {d.words(now)}", "progress", destination=name, **numbers)
        if self.rows and not self.deliveries:
            rows, rejected = self.rows, self.rows_rejected
            words = f", {rejected:,} rejected" if rejected else ""
            self.write(f"{plural(rows, 'row')} read{words}", "planning", rows=rows, rejected=rejected)

    def write(self, text: str, event: str, *, level: str = "info", **fields: Any) -> None:
        """A record of this mapping, and of the run that is under way."""
        run = {} if self._run is None else {"run": self._run}
        log(event, f"{self.mapping}: {text}", level=level, **{"mapping": self.mapping, **run, **fields})


_logger = logging.getLogger("loader")


class _Handler(logging.Handler):
    """Writes what is logged with `extra={"fields": …}` as lines of `lines`."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = getattr(record, "fields", {})
        shown = {name: value for name, value in fields.items() if value not in (None, "")}
        listed = ", ".join(f"{name} {value}" for name, value in shown.items())
        event = record.getMessage()
        self._lines.write(f"{event}: {listed}", event, level=record.levelname.lower(), **shown)


class Bars(Silent):
    """Bars of tqdm: rows while they are read, then one bar per destination."""

    def __init__(self, mapping: str) -> None:
        super().__init__(mapping)
        self._reading: tqdm[Any] | None = None
        self._bars: dict[str, tqdm[Any]] = {}

    def close(self) -> None:
        """Take the bars away; the summary follows."""
        for bar in [self._reading, *self._bars.values()]:
            if bar is not None:
                bar.close()
        self._reading, self._bars = None, {}

    def planning(self, rows: int, rejected: int) -> None:
        """Move the bar of the rows."""
        super().planning(rows, rejected)
        if self._reading is None:
            title = f"{self.mapping}: reading"
            self._reading = self._bar(title, "{desc} {n:,} rows [{elapsed}, {rate_fmt}{postfix}]", None)
        if rejected:
            self._reading.set_postfix_str(f"{rejected:,} rejected", refresh=False)
        self._reading.update(rows - self._reading.n)

    def delivering(self, destination: str, events: int, run: str) -> None:
        """A new bar."""
        super().delivering(destination, events, run)
        if self._reading is not None:
            self._reading.close()
            self._reading = None
        if destination in self._bars:
            self._bars[destination].close()
        # The speed stands among the words behind, where it has the same unit as everywhere.
        counts = f"{{n:,}} of {events:,} events"
        shape = f"{{desc}} {{percentage:3.0f}}%|{{bar}}| {counts} [{{elapsed}}<{{remaining}}{{postfix}}]"
        self._bars[destination] = self._bar(f"{self.mapping}: {destination}", shape, events)

    def advance(self, destination: str, *, sent: int = 0, rejected: int = 0, in_doubt: int = 0) -> None:
        """Move a bar."""
        super().advance(destination, sent=sent, rejected=rejected, in_doubt=in_doubt)
        self._postfix(destination, refresh=False)
        self._bars[destination].update(sent + rejected + in_doubt)

    def retrying(self, destination: str, seconds: float, message: str, chunk: int) -> None:
        """Say how long the destination waits."""
        super().retrying(destination, seconds, message, chunk)
        self._postfix(destination, refresh=True)

    def say(self, line: str) -> None:
        """A line above the bars."""
        tqdm.write(f"{self.mapping}: {line}", file=sys.stderr)

    def _bar(self, title: str, shape: str, total: int | None) -> tqdm[Any]:
        return tqdm(
            desc=title, bar_format=shape, unit=" rows", total=total, dynamic_ncols=True, leave=False, file=sys.stderr
        )

    def _postfix(self, destination: str, *, refresh: bool) -> None:
        d, now = self.deliveries[destination], time.monotonic()
        retries = "retry" if d.retries == 1 else "retries"
        counts = ((retries, d.retries), ("rejected", d.rejected), ("in doubt", d.in_doubt))
        words = [f"{d.rate(now):,.0f}/s", *(f"{count:,} {what}" for what, count in counts if count)]
        if d.waits_until > now:
            words.append(f"waits {duration(d.waits_until - now)}")
        self._bars[destination].set_postfix_str(", ".join(words), refresh=refresh)


def watch(mapping: str, *, quiet: bool = False) -> Silent:
    """Somebody who watches, as the terminal and `LOADER_LOG` ask for. `mapping`: its name."""
    if quiet:
        return Silent(mapping)
    wanted = log_words()
    if wanted & {"json", "text", "debug"}:
        return Lines(mapping, machine=bool(wanted & {"json", "text"}), debug="debug" in wanted)
    return Bars(mapping) if sys.stderr.isatty() else Lines(mapping)
