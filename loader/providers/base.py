"""What a provider is to the rest of the loader: settings, limits as data, and pure functions. No I/O.

A provider is one file with one `Provider`. It has one or more routes; a `Route` says what JSON columns of events become
(in polars expressions, so that no event becomes a Python object on the way to the plan), what stands around the texts
of a chunk (`envelope`) and what makes a request of them, and reads the answer into a `Receipt`.
"""

from __future__ import annotations

import ipaddress
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
import polars as pl
from pydantic import AfterValidator, Field, SecretStr

from loader import jsontext
from loader.providers.envelope import Envelope
from loader.settings import Duration, Rate, Settings

LateEvents = Literal["stop", "reject", "omit_time", "send"]
InDoubt = Literal["hold", "resend", "skip"]


def _header_safe(value: str) -> str:
    """A setting that becomes part of a header or a URL: one line of printable ASCII without blanks."""
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("expected printable ASCII without blanks or line breaks")
    return value


def _secret_header_safe(value: SecretStr) -> SecretStr:
    _header_safe(value.get_secret_value())
    return value


def _address(value: str) -> str:
    """A `base_url` to which a request can be made at all, and to which keys may be sent."""
    try:
        parts = urlsplit(value)
        if not parts.hostname or parts.port == 0:
            raise ValueError
        parts.hostname.encode("idna")
    except ValueError:
        raise ValueError("expected an address such as https://api.example.com or http://localhost:8080") from None
    if "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError("expected an address without a user, `?` and `#`; keys have settings of their own")
    if parts.scheme == "http" and not _near(parts.hostname):
        raise ValueError("expected https: keys would travel in the clear")
    return value


def _near(host: str) -> bool:
    """Whether `host` is this machine or one of the same network: no name of the public kind, no public address."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".local", ".internal"))


# A credential: never shown, never stored, and not able to smuggle a second header.
Credential = Annotated[SecretStr, AfterValidator(_secret_header_safe)]


class DestinationSettings(Settings):
    """Keys that every destination may carry; a provider adds its credentials."""

    provider: str = Field(description="The provider's name.")
    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="Default: the provider's.")
    base_url: Annotated[str, AfterValidator(_address)] | None = Field(
        None, pattern=r"^https?://\S+$", description="Instead of the provider's own address: https, or http near by."
    )
    route: str | None = Field(None, description="One of the provider's routes; default: its first.")
    rate: Rate | None = Field(None, description="Requests, such as 100/min; default: what the provider publishes.")
    concurrency: int | None = Field(
        None, ge=1, le=64, description="Requests under way at once; default: 32; 8 where one holds a thousand events."
    )
    timeout: Duration = Field(30.0, gt=0, description="How long one answer may take; then the chunk is in doubt.")
    chunk: int | None = Field(None, ge=1, description="Events per call, at most the provider's limit.")
    late_events: LateEvents = Field("stop", description="Events outside the time window that the provider accepts.")
    in_doubt: InDoubt | None = Field(None, description="Chunks that left and whose answer was never read.")
    give_up_after: Duration = Field(900.0, description="Stop (exit 5) when nothing was taken for this long.")


@dataclass(frozen=True)
class Limit:
    """One published limit, or one that the loader sets itself where none is published (`page` says so)."""

    what: str
    value: int
    unit: str
    page: str
    read: str


@dataclass(frozen=True)
class EventField:
    """A field of an event beside the common ones. `kind`: `text`, or `list` of texts."""

    kind: Literal["text", "list"]
    description: str


@dataclass(frozen=True)
class Window:
    """The event times that a provider accepts: from `past` seconds before now until now.

    `past` is None where the API has no field for a time: then every event with a time is late, and cannot be sent as it
    is. An event must still be inside when it arrives, not only when it leaves: `margin` seconds are for the way.
    """

    past: float | None
    page: str
    margin: float = 60.0


@dataclass(frozen=True)
class Check:
    """One limit as an expression over the columns of events.

    `broken`: Boolean, true where the event breaks the limit. `message` may contain `{value}`, which stands for the
    `value` that breaks it, or `{size}`, for what was measured. `from_bytes`: only events of at least so many bytes can
    break it, or, with `texts`, only those whose text in that column (String) has so many; others need not be measured.
    """

    broken: pl.Expr
    reason: str
    field: str
    message: str
    value: pl.Expr | None = None
    size: pl.Expr | None = None
    from_bytes: int = 0
    texts: str | None = None


@dataclass(frozen=True)
class Encoded:
    """`event`: what stands in a request: the members of a JSON object, or a text (String) that a provider makes of
    anything else. `user`: String, the user's JSON text for a route that groups by user, is `ordered` or has
    `users_per_call`, else null. `checks`: over the same columns.
    `times`: columns of times whose texts (`jsontext.to_the_second`) `event` finds in the column `written(column)`.
    `whole`: gives the same text as `event` in less time, where no time of the frame has a fraction of a second."""

    event: jsontext.Members | pl.Expr
    user: pl.Expr
    checks: Sequence[Check] = ()
    times: Sequence[str] = ()
    whole: jsontext.Members | pl.Expr | None = None


def written(column: str) -> str:
    """The name of the column with the texts of a column of times, which no event has; see `Encoded`."""
    return f"text of {column}"


@dataclass(frozen=True)
class Request:
    """One HTTP request, complete: nothing is added on the way."""

    method: str
    # The keys of some providers stand in the path.
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outcome(Enum):
    """What an answer means for the chunk."""

    TAKEN = "taken"  # but for the events in `refused`
    NOT_TAKEN = "not taken"  # nothing was stored: wait and try again
    REFUSED = "refused"  # the content, without naming events
    STOPPED = "stopped"  # credentials or route: nothing more may be sent
    IN_DOUBT = "in doubt"  # it may or may not have been taken


@dataclass(frozen=True)
class Receipt:
    """What the provider answered for a chunk.

    `token`: the provider's proof, to be kept. `refused`: position in the chunk (from 0) → the provider's words.
    `wait`: seconds that the provider asks to wait. `message`: words for a person, without secrets.
    """

    outcome: Outcome
    token: str | None = None
    refused: Mapping[int, str] = field(default_factory=dict)
    wait: float | None = None
    message: str = ""


class Route(ABC):
    """One way to send events to a provider: its limits and its shapes."""

    name: str
    limits: tuple[Limit, ...]
    # What a mapping may send this way: `event:`, `customer:` (whose columns have no `name`), or both.
    takes: frozenset[Literal["event", "customer"]] = frozenset({"event"})
    events_per_call: int
    envelope: Envelope
    # None where the provider publishes none and the other limits bound the body anyway.
    bytes_per_call: int | None = None
    # Users whose events may share a call; None: any number.
    users_per_call: int | None = None
    # Whether the provider acts on events in the order of arrival, so that a user's chunks must not overtake each other.
    ordered: bool = True
    # Requests a second that the provider publishes; None where it publishes none.
    rate: float | None = None
    # Requests under way at once, where the mapping is silent: as many chunks may be in doubt. With so many a rate of a
    # hundred a second is within reach where an answer takes a third of a second.
    concurrency: int = 32
    # Seconds to wait at least after a 429.
    floor: float = 1.0
    window: Window | None = None

    def under(self, settings: Any) -> Route:
        """This route as a destination's `settings` (the provider's own) want it, where they change what it takes."""
        return self

    def in_doubt(self, columns: Mapping[str, pl.DataType]) -> InDoubt:
        """What to do with chunks in doubt where the mapping is silent; `resend` only where duplicates are removed."""
        return "hold"

    def problems(self, columns: Mapping[str, pl.DataType]) -> list[tuple[str, str]]:
        """What can never be sent with these columns, whatever the rows: (column, what is wrong and what is right)."""
        return []

    def warning(self, events: int) -> str | None:
        """What a person should know before so many events go this way, and what to do instead; None: nothing."""
        return None

    @abstractmethod
    def encode(self, columns: Mapping[str, pl.DataType]) -> Encoded:
        """What a frame of events with `columns` (see `loader.mapping`) becomes, as expressions: JSON, user, checks."""

    @abstractmethod
    def request(self, settings: Any, body: bytes, user: str | None) -> Request:
        """The request that carries `body`; `settings` are the provider's own, `user` is the JSON text of the first
        event's user (`Encoded.user`)."""

    @abstractmethod
    def read(self, answer: Answer, rows: Sequence[int]) -> Receipt:
        """What `answer` means for the chunk that holds the events of `rows`."""


@dataclass(frozen=True)
class Provider:
    """A vendor's API. `routes`: the first is the default. `user`: what the API calls the id that `user:` is.
    `id_types`: names allowed under `ids:`; None: any."""

    name: str
    title: str
    base_url: str
    settings: type[DestinationSettings]
    routes: tuple[Route, ...]
    user: str
    fields: Mapping[str, EventField]
    id_types: tuple[str, ...] | None
    # Settings that must not be shown or stored.
    secrets: tuple[str, ...]

    def route(self, name: str | None) -> Route:
        """The route called `name`, or the default. Raises KeyError."""
        if name is None:
            return self.routes[0]
        return {route.name: route for route in self.routes}[name]


def over(
    column: str,
    broken: pl.Expr,
    message: str,
    value: pl.Expr | None = None,
    size: pl.Expr | None = None,
    from_bytes: int = 0,
) -> Check:
    """A check for a value over a limit of the provider."""
    return Check(broken, "over_limit", column, message, value, size, from_bytes)


def longer(column: str, most: int, message: str) -> Check:
    """A check for a text of more than `most` characters in a column of texts (String)."""
    text = pl.col(column)
    broken = text.str.len_chars() > most
    return Check(broken, "over_limit", column, message, text, from_bytes=most + 1, texts=column)


def parse_json(body: bytes) -> Any:
    """The JSON value of an answer's body, or None where it is not JSON (such as a proxy's page)."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def excerpt(body: bytes) -> str:
    """The first words of a body for a message: one line, printable."""
    text = body[:400].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def plain(value: object, depth: int = 4) -> str:
    """The words of a JSON value, without what is nested deeper than `depth`."""
    if isinstance(value, (list, dict)) and not depth:
        return "…"
    if isinstance(value, list):
        return "; ".join(plain(one, depth - 1) for one in value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {plain(one, depth - 1)}" for key, one in value.items())
    return str(value)


# Seconds; who asks for more asks for ever.
LONGEST = 1e9


def retry_after(answer: Answer) -> float | None:
    """Seconds of a `Retry-After` header (RFC 9110 10.2.3: seconds or an HTTP date), or None.

    Fractions of a second are no part of it, but some servers send them.
    """
    value = answer.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return min(float(value), LONGEST)
    when, now = http_date(value), http_date(answer.headers.get("date", ""))
    return None if when is None else max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def http_date(value: str) -> datetime | None:
    """An HTTP date (always GMT, RFC 9110 5.6.7), or None."""
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def common_failure(answer: Answer, documented: bool) -> Receipt:
    """What an answer other than success means where all providers agree (design, "Answers").

    `documented`: whether the body has the shape of the provider's own error answer.
    """
    status, said = answer.status, f"HTTP {answer.status}: {excerpt(answer.body)}"
    if status == 429:
        return Receipt(Outcome.NOT_TAKEN, wait=retry_after(answer), message=said)
    if status in (500, 503) and documented:
        return Receipt(Outcome.NOT_TAKEN, wait=retry_after(answer), message=said)
    if 300 <= status < 400:
        where = _host(answer.headers.get("location", "")) or "another path"
        return Receipt(
            Outcome.STOPPED, message=f"HTTP {status}: redirected to {where}; keys are not sent to another address"
        )
    if status in (401, 403, 404, 405, 407):
        return Receipt(Outcome.STOPPED, message=said)
    if 400 <= status < 500 and status not in (408, 425, 499):
        return Receipt(Outcome.REFUSED, message=said)
    return Receipt(Outcome.IN_DOUBT, message=said)


def _host(address: str) -> str | None:
    """The host of an address, whose rest may hold a key; None where it has none."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
