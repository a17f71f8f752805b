"""Bloomreach Engagement, Tracking API: events of customers, up to 50 commands in one call, a result per command.

Pages read 2026-11-20:
BATCH_COMMANDS  "Batch commands", https://documentation.bloomreach.com/engagement/reference/batch-commands-2
ADD_EVENT       "Add event", https://documentation.bloomreach.com/engagement/reference/add-event
OVERVIEW        "Tracking API overview", https://documentation.bloomreach.com/engagement/reference/tracking-api-overview-2
AUTHENTICATION  "Technical information", https://documentation.bloomreach.com/engagement/reference/technical-information
ERRORS          "Authorization errors", https://documentation.bloomreach.com/engagement/reference/tracking-api-authorization-errors
DUPLICATES      "Imports technical reference", https://documentation.bloomreach.com/engagement/docs/imports-technical-reference
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
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
    Envelope,
    InDoubt,
    Limit,
    Outcome,
    Provider,
    Receipt,
    Request,
    Route,
    common_failure,
    over,
    parse_json,
)
from loader.rejection import ROW

BATCH_COMMANDS = "https://documentation.bloomreach.com/engagement/reference/batch-commands-2"
ADD_EVENT = "https://documentation.bloomreach.com/engagement/reference/add-event"
OVERVIEW = "https://documentation.bloomreach.com/engagement/reference/tracking-api-overview-2"
READ = "2026-11-20"

COMMANDS = 50
# "KBytes" is read as 1024 bytes: a command over the provider's own reading is refused alone and reported, while one
# that the loader refuses too early is lost for nothing.
COMMAND_BYTES = 800 * 1024
VALUE_BYTES = 16 * 1024
REQUESTS_PER_MINUTE = 6000
# No page limits the whole request; 50 commands of 800 KB each would make 40 MB.
BODY_BYTES = 10_000_000

LIMITS = (
    Limit("commands per call", COMMANDS, "commands", BATCH_COMMANDS, READ),
    Limit("one command, less than", COMMAND_BYTES, "bytes", BATCH_COMMANDS, READ),
    Limit("one property's value, less than", VALUE_BYTES, "bytes", BATCH_COMMANDS, READ),
    Limit("properties per event, at least", 1, "property", ADD_EVENT, READ),
    Limit("requests", REQUESTS_PER_MINUTE, "requests/min", OVERVIEW, READ),
    Limit("one request", BODY_BYTES, "bytes", "none published; the loader's own bound", READ),
)

# A wrong project token is answered with 400 (ERRORS); halving a chunk would only refuse every event for it.
_ACCESS_ERRORS = ("Invalid project id", "Could not authenticate")


class BloomreachSettings(DestinationSettings):
    """`provider: bloomreach`: one project, with private access (key id and secret) or public access (token)."""

    project_token: Credential = Field(description="The project's token, part of the address.")
    api_key_id: Credential | None = Field(None, description="Private access: the key's id.")
    api_secret: Credential | None = Field(None, description="Private access: the key's secret.")
    api_token: Credential | None = Field(None, description="Public access: the token, instead of id and secret.")

    @model_validator(mode="after")
    def _one_access(self) -> BloomreachSettings:
        private = self.api_key_id is not None and self.api_secret is not None
        partly = (self.api_key_id is None) != (self.api_secret is None)
        if partly or private == (self.api_token is not None):
            raise ValueError(
                "expected either `api_key_id` and `api_secret` (private access) or `api_token` (public access)"
            )
        return self


class Commands(Route):
    """`POST /track/v2/projects/{projectToken}/batch`: `{commands: [{name, data, command_id}]}`."""

    name = "batch"
    limits = LIMITS
    takes = frozenset({"event", "customer"})
    events_per_call = COMMANDS
    bytes_per_call = BODY_BYTES
    envelope = Envelope('{"commands":[', "]}")
    # Commands are not executed in their order anyway; `timestamp` places events (BATCH_COMMANDS).
    ordered = False
    rate = REQUESTS_PER_MINUTE / 60

    def in_doubt(self, columns: Mapping[str, pl.DataType]) -> InDoubt:
        """Equal events of equal times are removed for 90 days (DUPLICATES); without a time they are not equal."""
        return "resend" if "time" in columns else "hold"

    def encode(self, columns: Mapping[str, pl.DataType]) -> Encoded:
        """See `Route.encode`; the number of the row is the `command_id` by which its result is found."""
        ids = [("registered", pl.col("user"))] if "user" in columns else []
        ids += [(c.removeprefix("ids."), pl.col(c)) for c in columns if c.startswith("ids.")]
        values = {
            c: jsontext.value(pl.col(c), dtype, time=jsontext.seconds)
            for c, dtype in columns.items()
            if c.startswith("properties.")
        }
        properties = jsontext.obj([(c.removeprefix("properties."), written) for c, written in values.items()])
        data = [
            ("customer_ids", jsontext.obj([(kind, jsontext.text(column)) for kind, column in ids])),
            ("event_type", jsontext.text(pl.col("name"))),
            ("properties", properties),
        ]
        if "time" in columns:
            data.insert(2, ("timestamp", jsontext.seconds(pl.col("time"))))
        command = jsontext.obj(
            [
                ("name", pl.lit('"customers/events"')),
                ("data", jsontext.obj(data, always=True)),
                ("command_id", jsontext.quoted(pl.col(ROW).cast(pl.String))),
            ],
            always=True,
        )
        return Encoded(event=command, user=pl.lit(None, pl.String), checks=_checks(command, properties, values))

    def request(self, settings: BloomreachSettings, body: bytes, user: str | None) -> Request:
        """See `Route.request`; authorization as AUTHENTICATION says: `Basic` for private access, `Token` for public."""
        if settings.api_key_id is not None and settings.api_secret is not None:
            pair = f"{settings.api_key_id.get_secret_value()}:{settings.api_secret.get_secret_value()}"
            access = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            assert settings.api_token is not None
            access = f"Token {settings.api_token.get_secret_value()}"
        project = quote(settings.project_token.get_secret_value(), safe="")
        base = (settings.base_url or BLOOMREACH.base_url).rstrip("/")
        headers = {"Content-Type": "application/json", "Authorization": access}
        return Request("POST", f"{base}/track/v2/projects/{project}/batch", headers, body)

    def read(self, answer: Answer, rows: Sequence[int]) -> Receipt:
        """See `Route.read`; each command has a result, and the `success` beside them says nothing (BATCH_COMMANDS)."""
        said = parse_json(answer.body)
        if answer.status == 400 and isinstance(said, dict) and said.get("error") in _ACCESS_ERRORS:
            return Receipt(Outcome.STOPPED, message=f"HTTP 400: {said['error']}")
        if answer.status != 200:
            return common_failure(answer, documented=isinstance(said, dict) or not answer.body)
        results = said.get("results") if isinstance(said, dict) else None
        if results is None and isinstance(said, dict) and said.get("success") is False:
            return Receipt(Outcome.REFUSED, message=_words(said))
        if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
            return Receipt(Outcome.IN_DOUBT, message="HTTP 200, but the body is not Bloomreach's answer")
        positions = {str(row): position for position, row in enumerate(rows)}
        if all("command_id" in result for result in results):
            placed = {positions.get(str(result["command_id"]), -1): result for result in results}
        else:
            placed = dict(enumerate(results))
        if len(results) != len(rows) or sorted(placed) != list(range(len(rows))):
            return Receipt(Outcome.IN_DOUBT, message=f"{len(results)} results for {len(rows)} commands")
        refused = {at: _words(result) for at, result in sorted(placed.items()) if result.get("success") is not True}
        return Receipt(Outcome.TAKEN, refused=refused)


def _checks(command: pl.Expr, properties: pl.Expr, values: Mapping[str, pl.Expr]) -> list[Check]:
    checks = [
        over(
            column,
            written.str.len_bytes() >= VALUE_BYTES,
            f"{column}: {{value}} bytes, Bloomreach takes less than {VALUE_BYTES}",
            written.str.len_bytes(),
        )
        for column, written in values.items()
    ]
    size = command.str.len_bytes()
    words = f"the event: {{value}} bytes, Bloomreach takes less than {COMMAND_BYTES}"
    checks.append(over("event", size >= COMMAND_BYTES, words, size))
    empty = "properties: all are null, and Bloomreach takes no event without a property"
    checks.append(Check(properties == "{}", "bad_value", "properties", empty))
    return checks


def _words(result: Mapping[str, object]) -> str:
    """The errors of an answer: text, list or object, or `error` or `message` (BATCH_COMMANDS, ADD_EVENT, ERRORS)."""
    errors = result.get("errors") or result.get("error") or result.get("message")
    if isinstance(errors, list):
        return "; ".join(str(error) for error in errors) or "refused without a reason"
    if isinstance(errors, dict):
        return "; ".join(f"{key}: {value}" for key, value in errors.items())
    return str(errors) if errors else "refused without a reason"


BLOOMREACH = Provider(
    name="bloomreach",
    title="Bloomreach Engagement",
    base_url="https://api.exponea.com",
    settings=BloomreachSettings,
    routes=(Commands(),),
    fields={},
    id_types=None,
    secrets=("project_token", "api_key_id", "api_secret", "api_token"),
)
