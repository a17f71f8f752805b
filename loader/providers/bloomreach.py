"""Bloomreach Engagement, Tracking API: events of customers and customers themselves, as commands or one by one.

Pages read 2026-11-20:
BATCH_COMMANDS  "Batch commands", https://documentation.bloomreach.com/engagement/reference/batch-commands-2
ADD_EVENT       "Add event", https://documentation.bloomreach.com/engagement/reference/add-event
ADD_EVENT_NOW   "Add event", the newer page, https://documentation.bloomreach.com/engagement/docs/add-event
UPDATE_CUSTOMER "Update customer properties",
                https://documentation.bloomreach.com/engagement/reference/update-customer-properties-2
OVERVIEW        "Tracking API overview", https://documentation.bloomreach.com/engagement/reference/tracking-api-overview-2
AUTHENTICATION  "Technical information", https://documentation.bloomreach.com/engagement/reference/technical-information
ERRORS          "Authorization errors", https://documentation.bloomreach.com/engagement/reference/tracking-api-authorization-errors
COMMON_ERRORS   "Most common API requests errors",
                https://support.bloomreach.com/hc/en-us/articles/19231102135453-Most-common-API-requests-errors
DUPLICATES      "Imports technical reference", https://documentation.bloomreach.com/engagement/docs/imports-technical-reference
SYNCHRONIZATION "Customer properties synchronization",
                https://documentation.bloomreach.com/engagement/docs/customer-properties-synchronization

An event tells its `event_type` first; what has none is an update of a customer. Its `update_timestamp` says which of
two updates is the newer one, in whatever order they arrive (SYNCHRONIZATION); without it the last one worked on wins.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Literal
from urllib.parse import quote

import polars as pl
from pydantic import Field, model_validator

from loader import jsontext
from loader.providers.base import (
    Answer,
    Check,
    Credential,
    DestinationSettings,
    Encoded,
    InDoubt,
    Limit,
    Outcome,
    Provider,
    Receipt,
    Request,
    Route,
    common_failure,
    excerpt,
    over,
    parse_json,
    plain,
)
from loader.providers.envelope import Envelope
from loader.rejection import ROW

BATCH_COMMANDS = "https://documentation.bloomreach.com/engagement/reference/batch-commands-2"
ADD_EVENT = "https://documentation.bloomreach.com/engagement/reference/add-event"
UPDATE_CUSTOMER = "https://documentation.bloomreach.com/engagement/reference/update-customer-properties-2"
OVERVIEW = "https://documentation.bloomreach.com/engagement/reference/tracking-api-overview-2"
READ = "2026-11-20"

COMMANDS = 50
# "KBytes" is read as 1024 bytes: a message over the provider's own reading is refused alone and reported, while one
# that the loader refuses too early is lost for nothing.
MESSAGE_BYTES = 800 * 1024
VALUE_BYTES = 16 * 1024
REQUESTS_PER_MINUTE = 6000
# No page limits the whole request; 50 commands of 800 KB each would make 40 MB.
BODY_BYTES = 10_000_000
# Milliseconds read as seconds: the provider does not tell them apart (ADD_EVENT), and would take the year 50,000.
LATEST = 100_000_000_000
# Both routes are not for large volumes, and no page says where those begin.
MANY_COMMANDS = 100_000
MANY_SINGLE = 1_000
OWN = "none published; the loader's own bound"


def _limits(page: str, what: str, many: int) -> tuple[Limit, ...]:
    """What both routes limit, on their own pages. `what`: that which the page counts."""
    return (
        Limit(f"one {what}, less than", MESSAGE_BYTES, "bytes", page, READ),
        Limit("one property's value, less than", VALUE_BYTES, "bytes", page, READ),
        Limit("properties of an event, at least", 1, "property", ADD_EVENT, READ),
        Limit("properties of a customer, at least", 1, "property", UPDATE_CUSTOMER, READ),
        Limit("time, at most", LATEST, "seconds since 1970", OWN, READ),
        Limit("requests", REQUESTS_PER_MINUTE, "requests/min", OVERVIEW, READ),
        Limit("large volume, warned of above", many, f"{what}s", OWN, READ),
    )


# A wrong project token is answered with 400 (ERRORS); halving a chunk would only refuse every event for it.
_ACCESS_ERRORS = ("Invalid project id", "Could not authenticate")
# So is a permission that the key lacks, with 200 (COMMON_ERRORS).
_NO_PERMISSION = "Not authorized to add event"


class BloomreachSettings(DestinationSettings):
    """`provider: bloomreach`: one project, with private access (key id and secret) or public access (token)."""

    project_token: Credential = Field(description="The project's token, part of the address.")
    api_key_id: Credential | None = Field(None, description="Private access: the key's id.")
    api_secret: Credential | None = Field(None, description="Private access: the key's secret.")
    api_token: Credential | None = Field(None, description="Public access: the token, instead of id and secret.")
    empty_properties: Literal["reject", "send"] = Field(
        "reject", description="Events without a property: the pages disagree whether one is required."
    )

    @model_validator(mode="after")
    def _one_access(self) -> BloomreachSettings:
        private = self.api_key_id is not None and self.api_secret is not None
        partly = (self.api_key_id is None) != (self.api_secret is None)
        if partly or private == (self.api_token is not None):
            raise ValueError(
                "expected either `api_key_id` and `api_secret` (private access) or `api_token` (public access)"
            )
        return self


class _Track(Route):
    """What both routes share."""

    takes = frozenset({"event", "customer"})
    # Neither route works in order of arrival; times place events and updates (BATCH_COMMANDS, SYNCHRONIZATION).
    ordered = False
    rate = REQUESTS_PER_MINUTE / 60
    # At least one is required by ADD_EVENT; ADD_EVENT_NOW only recommends it.
    empty_properties = False

    def under(self, settings: BloomreachSettings) -> Route:
        """See `Route.under`."""
        route = copy(self)
        route.empty_properties = settings.empty_properties == "send"
        return route

    def problems(self, columns: Mapping[str, pl.DataType]) -> list[tuple[str, str]]:
        """An id that is given twice, and no property."""
        found = []
        if "user" in columns and "ids.registered" in columns:
            found.append(("ids.registered", "`user` is Bloomreach's `registered` already; map one of the two"))
        if not self.empty_properties and not any(column.startswith("properties.") for column in columns):
            found.append(("properties", f"none is mapped, and {_needs_property(columns)}"))
        return found

    def in_doubt(self, columns: Mapping[str, pl.DataType]) -> InDoubt:
        """Equal events of equal times are removed for 90 days (DUPLICATES), and an update is no newer the second time
        (SYNCHRONIZATION). Without a time an event is not equal, and an update may undo one that came in between."""
        return "resend" if "time" in columns else "hold"


class Commands(_Track):
    """`POST /track/v2/projects/{projectToken}/batch`: `{commands: [{name, data, command_id}]}`."""

    name = "batch"
    limits = (
        Limit("commands per call", COMMANDS, "commands", BATCH_COMMANDS, READ),
        *_limits(BATCH_COMMANDS, "command", MANY_COMMANDS),
        Limit("one request", BODY_BYTES, "bytes", OWN, READ),
    )
    events_per_call = COMMANDS
    bytes_per_call = BODY_BYTES
    envelope = Envelope('{"commands":[', "]}")

    def warning(self, events: int) -> str | None:
        """See `Route.warning`; "should not be used to run high-volume imports ... will be blocked" (BATCH_COMMANDS)."""
        if events <= MANY_COMMANDS:
            return None
        return (
            "Bloomreach says that batch commands are not for high-volume imports, and blocks them. It names no number; "
            f"the loader warns above {MANY_COMMANDS:,}. Ask Bloomreach before you send so many, spread them with `rate`"
            f" or `--stop-after`, or use its Imports ({BATCH_COMMANDS})"
        )

    def encode(self, columns: Mapping[str, pl.DataType]) -> Encoded:
        """See `Route.encode`; the number of the row is the `command_id` by which its result is found."""
        name = pl.lit("customers/events" if "name" in columns else "customers")

        def command(data: jsontext.Member) -> jsontext.Members:
            number = jsontext.present(pl.col(ROW).cast(pl.String))
            return [("name", jsontext.present(name)), ("data", data), ("command_id", number)]

        event, whole = (command(jsontext.nested(_message(columns, whole=whole))) for whole in (False, True))
        return _encoded(event, whole, _checks(columns, empty_properties=self.empty_properties))

    def request(self, settings: BloomreachSettings, body: bytes, user: str | None) -> Request:
        """See `Route.request`."""
        return _request(settings, "batch", body)

    def read(self, answer: Answer, rows: Sequence[int]) -> Receipt:
        """See `Route.read`; each command has a result, and the `success` beside them says nothing (BATCH_COMMANDS)."""
        said = parse_json(answer.body)
        if answer.status != 200:
            return _failure(answer, said)
        results = said.get("results") if isinstance(said, dict) else None
        if results is None and isinstance(said, dict) and said.get("success") is False:
            return Receipt(Outcome.REFUSED, message=_words(said))
        if not isinstance(results, list) or not all(
            isinstance(result, dict) and isinstance(result.get("success"), bool) for result in results
        ):
            return Receipt(Outcome.IN_DOUBT, message="HTTP 200, but the body is not Bloomreach's answer")
        placed = _placed(results, rows)
        if placed is None:
            words = f"HTTP 200, but its {len(results)} results are not told apart for {len(rows)} commands"
            return Receipt(Outcome.IN_DOUBT, message=words)
        refused = {at: _words(result) for at, result in sorted(placed.items()) if not result["success"]}
        if len(refused) == len(rows) and all(words.startswith(_NO_PERMISSION) for words in refused.values()):
            return Receipt(Outcome.STOPPED, message=f"HTTP 200: {refused[0]}")
        return Receipt(Outcome.TAKEN, refused=refused)


class Single(_Track):
    """`POST /track/v2/projects/{projectToken}/customers/events`, or `/customers`: the data of one command alone."""

    name = "single"
    limits = (
        Limit("events per call", 1, "event", ADD_EVENT, READ),
        *_limits(ADD_EVENT, "message", MANY_SINGLE),
    )
    events_per_call = 1
    envelope = Envelope()

    def warning(self, events: int) -> str | None:
        """See `Route.warning`; "strongly prohibited ... for sending large volumes of data" (ADD_EVENT)."""
        if events <= MANY_SINGLE:
            return None
        return (
            "Bloomreach strongly prohibits large volumes of single events, and recommends batch commands. It names no "
            f"number; the loader warns above {MANY_SINGLE:,}. Take `route: batch` ({ADD_EVENT})"
        )

    def encode(self, columns: Mapping[str, pl.DataType]) -> Encoded:
        """See `Route.encode`."""
        event, whole = (_message(columns, whole=whole) for whole in (False, True))
        return _encoded(event, whole, _checks(columns, empty_properties=self.empty_properties))

    def request(self, settings: BloomreachSettings, body: bytes, user: str | None) -> Request:
        """See `Route.request`."""
        return _request(settings, "customers/events" if body.startswith(b'{"event_type":') else "customers", body)

    def read(self, answer: Answer, rows: Sequence[int]) -> Receipt:
        """See `Route.read`; `success: false` is a refusal, whatever the status says (ADD_EVENT)."""
        said = parse_json(answer.body)
        if answer.status != 200:
            return _failure(answer, said)
        success = said.get("success") if isinstance(said, dict) else None
        if not isinstance(success, bool):
            return Receipt(Outcome.IN_DOUBT, message="HTTP 200, but the body is not Bloomreach's answer")
        if success:
            return Receipt(Outcome.TAKEN)
        words = _words(said)
        return Receipt(Outcome.STOPPED if words.startswith(_NO_PERMISSION) else Outcome.REFUSED, message=words)


def _request(settings: BloomreachSettings, path: str, body: bytes) -> Request:
    """Authorization as AUTHENTICATION says: `Basic` for private access, `Token` for public."""
    if settings.api_key_id is not None and settings.api_secret is not None:
        pair = f"{settings.api_key_id.get_secret_value()}:{settings.api_secret.get_secret_value()}"
        access = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        assert settings.api_token is not None
        access = f"Token {settings.api_token.get_secret_value()}"
    project = quote(settings.project_token.get_secret_value(), safe="")
    base = (settings.base_url or BLOOMREACH.base_url).rstrip("/")
    headers = {"Content-Type": "application/json", "Authorization": access}
    return Request("POST", f"{base}/track/v2/projects/{project}/{path}", headers, body)


def _placed(results: Sequence[Mapping[str, object]], rows: Sequence[int]) -> dict[int, Mapping[str, object]] | None:
    """Position in the chunk → its result; None unless each command has exactly one. `command_id` matches a result
    with its command (BATCH_COMMANDS), the order of the results only where none has an id: no page tells the order."""
    if any("command_id" in result for result in results):
        positions = {str(row): position for position, row in enumerate(rows)}
        placed = {positions.get(str(result.get("command_id")), -1): result for result in results}
    else:
        placed = dict(enumerate(results))
    whole = len(results) == len(rows) and placed.keys() == set(range(len(rows)))
    return placed if whole else None


def _failure(answer: Answer, said: object) -> Receipt:
    if answer.status == 400 and isinstance(said, dict) and said.get("error") in _ACCESS_ERRORS:
        return Receipt(Outcome.STOPPED, message=f"HTTP 400: {said['error']}")
    return common_failure(answer, documented=isinstance(said, dict) or not answer.body)


def _encoded(event: jsontext.Members, whole: jsontext.Members, checks: Sequence[Check]) -> Encoded:
    size = jsontext.obj(event).str.len_bytes()
    words = f"the event: {{size}} bytes, Bloomreach takes less than {MESSAGE_BYTES}"
    too_large = over("event", size >= MESSAGE_BYTES, words, size=size, from_bytes=MESSAGE_BYTES)
    return Encoded(event, pl.lit(None, pl.String), [*checks, too_large], whole=whole)


def _message(columns: Mapping[str, pl.DataType], *, whole: bool) -> jsontext.Members:
    """The data of an event (ADD_EVENT), or of a customer where there is no `name` (UPDATE_CUSTOMER). `whole`: no time
    has a fraction of a second."""
    others = _other_ids(columns)
    ids = {"registered": pl.col("user")} if "user" in columns else {}
    # One that is no id would be shared by all who have it.
    ids |= {c.removeprefix("ids."): pl.when(_is_id(c)).then(pl.col(c)) for c in others}
    customer = [(kind, jsontext.Native(one, pl.String())) for kind, one in ids.items()]
    properties = [(c.removeprefix("properties."), _member(c, d, whole=whole)) for c, d in _properties(columns).items()]
    event = "name" in columns
    members = [("event_type", jsontext.present(pl.col("name")))] if event else []
    members.append(("customer_ids", jsontext.nested(customer)))
    if "time" in columns:
        members.append(("timestamp" if event else "update_timestamp", _member("time", columns["time"], whole=whole)))
    members.append(("properties", jsontext.nested(properties)))
    return members


def _other_ids(columns: Mapping[str, pl.DataType]) -> list[str]:
    return [column for column in columns if column.startswith("ids.")]


def _properties(columns: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    return {column: dtype for column, dtype in columns.items() if column.startswith("properties.")}


def _member(column: str, dtype: pl.DataType, *, whole: bool) -> jsontext.Member:
    """A field; times are seconds since 1970."""
    if whole and isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return jsontext.whole_seconds(pl.col(column))
    return jsontext.member(pl.col(column), dtype, time=jsontext.seconds)


def _is_id(column: str) -> pl.Expr:
    """Whether the value is an id for Bloomreach (COMMON_ERRORS); null is none."""
    value = pl.col(column)
    return (value.str.contains(r"[\p{L}\p{N}]") & ~value.is_in(["null", "undefined"])).fill_null(False)


def _needs_property(columns: Mapping[str, pl.DataType]) -> str:
    what = "event" if "name" in columns else "update of a customer"
    return f"Bloomreach takes no {what} without a property (`empty_properties: send` sends it all the same)"


def _checks(columns: Mapping[str, pl.DataType], *, empty_properties: bool) -> list[Check]:
    main = ["user"] if "user" in columns else _other_ids(columns)
    nobody = Check(
        ~pl.any_horizontal(_is_id(column) for column in main),
        "bad_value",
        main[0],
        f"{main[0]}: '{{value}}' is no id: Bloomreach takes those with a letter or digit, but not null or undefined",
        pl.coalesce(main),
    )
    values = _properties(columns)
    sizes = {c: jsontext.value(pl.col(c), dtype, time=jsontext.seconds).str.len_bytes() for c, dtype in values.items()}
    checks = [nobody]
    for column, size in sizes.items():
        words = f"{column}: {{size}} bytes, Bloomreach takes less than {VALUE_BYTES}"
        checks.append(over(column, size >= VALUE_BYTES, words, size=size, from_bytes=VALUE_BYTES))
    if not empty_properties:
        words = f"properties: all are null, and {_needs_property(columns)}"
        checks.append(Check(pl.all_horizontal(pl.col(c).is_null() for c in values), "bad_value", "properties", words))
    if "time" in columns:
        micros = pl.col("time").dt.timestamp("us")
        words = "time: {value} s since 1970 lies 3,000 years away; milliseconds are read with `unit: ms`"
        checks.append(Check(micros.abs() > LATEST * 1_000_000, "bad_value", "time", words, micros // 1_000_000))
    return checks


def _words(result: Mapping[str, object]) -> str:
    """The errors of an answer: text, list or object, or `error` or `message` (BATCH_COMMANDS, ADD_EVENT, ERRORS)."""
    errors = result.get("errors") or result.get("error") or result.get("message")
    return excerpt(plain(errors).encode()) if errors else "refused without a reason"


BLOOMREACH = Provider(
    name="bloomreach",
    title="Bloomreach Engagement",
    base_url="https://api.exponea.com",
    settings=BloomreachSettings,
    routes=(Commands(), Single()),
    user="registered",
    fields={},
    id_types=None,
    secrets=("project_token", "api_key_id", "api_secret", "api_token"),
)
