"""One rehearsal: the stand-ins, the faults in force, the clock and what was received. No sockets.

`server` tells it when a request begins, what it was and when it is over; `admin` looks into it and changes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loader.sandbox.appizer import Appizer
from loader.sandbox.batch import Batch
from loader.sandbox.bloomreach import Bloomreach, ErrorForm
from loader.sandbox.faults import Fault, Faults
from loader.sandbox.pushengage import PushEngage
from loader.sandbox.standin import Answer, Request, StandIn, json_answer
from loader.sandbox.store import Clock, Store, Visit

_PAGE: Final = b"<!DOCTYPE html>\n<html><head><title>Bad Gateway</title></head><body>Bad Gateway</body></html>\n"


@dataclass(frozen=True, slots=True)
class Options:
    """The switches of the sandbox: `clock` is ISO 8601 or None for the real time, `faults` as in `faults`."""

    faults: Sequence[Fault] = ()
    clock: str | None = None
    batch_any_time: bool = False
    batch_strict_429: bool = False
    appizer_unlimited: bool = False
    bloomreach_errors: ErrorForm = "documented"
    bloomreach_empty_properties: bool = False
    shuffle_results: bool = False


def stand_ins(options: Options) -> tuple[StandIn, ...]:
    """The list of all stand-ins. In: the switches. Out: the stand-ins, having received nothing."""
    return (
        Appizer(unlimited=options.appizer_unlimited),
        Batch(any_time=options.batch_any_time, strict_429=options.batch_strict_429),
        Bloomreach(
            shuffle_results=options.shuffle_results,
            empty_properties=options.bloomreach_empty_properties,
            errors=options.bloomreach_errors,
        ),
        PushEngage(),
    )


class Rehearsal:
    """In: the switches. Holds everything that a reset forgets, and the clock, which it keeps."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.clock = Clock(options.clock)
        self.reset()
        self.set_faults(options.faults)

    def reset(self) -> None:
        """Forget events, requests and faults. Requests still in flight end in the forgotten store."""
        self.stand_ins = stand_ins(self._options)
        self.store = Store([stand_in.name for stand_in in self.stand_ins])
        self.set_faults(())

    def set_faults(self, faults: Sequence[Fault]) -> None:
        """In: the faults that replace all others."""
        self._faults = Faults(faults)

    def begin(self, path: str) -> Visit:
        """In: the path of a request whose head has arrived. Out: its number, its stand-in and its fault."""
        number = len(self.store.visits) + 1
        stand_in = next((each for each in self.stand_ins if each.owns(path)), None)
        fault = self._faults.choose(number, stand_in.name) if stand_in is not None else None
        return Visit(number, stand_in, fault)

    def answer(self, visit: Visit, request: Request) -> Answer:
        """In: a visit and its complete request. Out: the answer, with what the provider accepted."""
        visit.size = len(request.body)
        visit.sha256 = hashlib.sha256(request.body).hexdigest()
        if visit.stand_in is None:
            return json_answer(404, {"error": f"no provider has the route {request.path}"})
        if visit.kind == "502_html":
            return Answer(502, _PAGE, "text/html")
        if visit.kind == "html_200":
            return Answer(visit.stand_in.success, _PAGE, "text/html")
        if visit.kind == "false_200":
            return visit.stand_in.refuse(request, self.clock.now(), visit.stand_in.success)
        if visit.kind.isdigit():
            return visit.stand_in.refuse(request, self.clock.now(), int(visit.kind))
        return visit.stand_in.answer(request, self.clock.now())
