"""Faults: what goes wrong on purpose, on which requests.

A fault is written `KIND:key=value:...` on the command line and as an object in JSON, with the same keys:

    429:first=3:retry_after=2      {"kind": "429", "first": 3, "retry_after": 2}
    lost_answer:p=0.2:seed=7       {"kind": "lost_answer", "probability": 0.2, "seed": 7}
    slow:at=1,4,9:seconds=0.5      {"kind": "slow", "at": [1, 4, 9], "seconds": 0.5}
    partial:provider=bloomreach    {"kind": "partial", "provider": "bloomreach"}
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from loader.sandbox.credentials import CREDENTIALS

# What each kind does, in words; `server` and `rehearsal` do it.
KINDS: Final[dict[str, str]] = {
    "400": "refuses the content with the provider's body; nothing is stored",
    "401": "refuses the credentials; nothing is stored",
    "403": "refuses the access; nothing is stored",
    "404": "knows no such route; nothing is stored",
    "429": "asks to slow down (retry_after: seconds, Appizer: in the body, else a header); nothing is stored",
    "500": "the provider's error; nothing is stored",
    "503": "the provider's maintenance; nothing is stored",
    "502_html": "a gateway's page; nothing is stored",
    "html_200": "the status of success with a page of HTML; nothing is stored",
    "false_200": "the status of success with a body that says failure; nothing is stored",
    "reset_before": "the connection is reset after the request's head; nothing is stored",
    "lost_answer": "stored, then the connection is closed without a byte of answer",
    "truncated": "stored, then the head and half of the answer's body, then closed",
    "never": "stored, then silence until the client closes",
    "slow": "waits (seconds: default 1), then answers as usual",
    "partial": "events are refused with a probability (share: default 0.5), alone or with their request",
    "short": "Appizer: one event less than was sent is stored and counted in processed_count",
}

_NUMBERS: Final = {
    "probability": float,
    "first": int,
    "seed": int,
    "retry_after": float,
    "seconds": float,
    "share": float,
}
_HUGE: Final = 1e9


class FaultError(ValueError):
    """A fault that cannot be understood; the text says why."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. Of `probability`, `first`, `at` and `provider` all that are given must hold; none: every request.

    `first` counts the requests since the faults were set; `at` holds the server's own request numbers, from 1.
    """

    kind: str
    probability: float | None = None
    first: int | None = None
    at: frozenset[int] | None = None
    provider: str | None = None
    seed: int = 1
    retry_after: float | None = None
    seconds: float = 1.0
    share: float = 0.5

    def hits(self, number: int, count: int, provider: str) -> bool:
        """In: the request's number, its number since the faults were set, its provider. Out: whether it is hit."""
        if self.provider not in (None, provider) or (self.kind == "short" and provider != "appizer"):
            return False
        if self.first is not None and count > self.first:
            return False
        if self.at is not None and number not in self.at:
            return False
        return self.probability is None or self._draw(number) < self.probability

    def refuses(self, number: int, index: int) -> bool:
        """In: a request's number and an item's index. Out: whether `partial` refuses the item."""
        return self._draw(number, index) < self.share

    def _draw(self, *numbers: int) -> float:
        # Drawn from the request's number rather than in sequence: the same requests are hit on every run,
        # and two faults of one seed do not hit the same ones.
        return random.Random(f"{self.seed}/{self.kind}/{numbers}").random()  # noqa: S311 - repeatable, not secret


class Faults:
    """The faults in force. In: the faults, in the order in which they are asked; the first that matches wins."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = tuple(faults)
        self._count = 0

    def choose(self, number: int, provider: str) -> Fault | None:
        """In: a request's number, from 1, and its provider. Out: the fault it meets."""
        self._count += 1
        return next((fault for fault in self._faults if fault.hits(number, self._count, provider)), None)


def from_text(text: str) -> Fault:
    """In: `KIND:key=value:...`. Out: the fault. Raises FaultError."""
    kind, *pairs = text.split(":")
    content: dict[str, Any] = {"kind": kind}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise FaultError(f"{text!r}: {pair!r} is not written key=value")
        try:
            if key == "at":
                content[key] = [int(number) for number in value.split(",")]
            else:
                content[key] = value if key == "provider" else float(value)
        except ValueError:
            raise FaultError(f"{text!r}: {value!r} is not a number") from None
    return from_json(content)


def from_json(content: Any) -> Fault:
    """In: a fault as a JSON object. Out: the fault. Raises FaultError."""
    if not isinstance(content, dict):
        raise FaultError(f"a fault is an object, not {content!r}")
    values = {("probability" if key == "p" else key): value for key, value in content.items()}
    kind = str(values.pop("kind", ""))
    if kind not in KINDS:
        raise FaultError(f"unknown fault {kind!r}; there are: {', '.join(KINDS)}")
    numbers: dict[str, Any] = {}
    provider = values.pop("provider", None)
    if provider is not None and (not isinstance(provider, str) or provider not in CREDENTIALS):
        raise FaultError(f"{kind}: unknown provider {provider!r}; there are: {', '.join(CREDENTIALS)}")
    for key, value in values.items():
        if key == "at" and isinstance(value, list) and all(type(number) is int for number in value):
            numbers[key] = frozenset(value)
        elif key in _NUMBERS and type(value) in (int, float) and 0 <= value <= _HUGE and value == _NUMBERS[key](value):
            numbers[key] = _NUMBERS[key](value)
        elif key == "at" or key in _NUMBERS:
            raise FaultError(f"{kind}: {key} cannot be {value!r}")
        else:
            raise FaultError(f"{kind}: unknown key {key!r}; there are: p, at, provider, {', '.join(_NUMBERS)}")
    if numbers.get("probability", 0) > 1 or numbers.get("share", 0) > 1:
        raise FaultError(f"{kind}: a probability is a number from 0 to 1")
    return Fault(kind, provider=provider, **numbers)
