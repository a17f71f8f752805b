"""Batch, Trigger Events API: events on Custom User IDs, many users in one call or one.

Pages read 2026-11-20:
TRACK       "POST - Track events", https://doc.batch.com/developer/api/mep/trigger-events-api/track-events
PARAMETERS  "Parameters", https://doc.batch.com/developer/api/mep/trigger-events-api/parameters
CUSTOM_ID   "Custom User ID", https://doc.batch.com/ios/custom-data/customid/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Literal
from urllib.parse import quote

import orjson
import polars as pl
from pydantic import Field

from loader import jsontext
from loader.jsontype import Digits, is_json
from loader.providers.base import (
    Answer,
    Check,
    Credential,
    DestinationSettings,
    Encoded,
    EventField,
    Limit,
    Outcome,
    Provider,
    Receipt,
    Request,
    Route,
    Window,
    common_failure,
    longer,
    over,
    parse_json,
    written,
)
from loader.providers.envelope import Envelope

TRACK = "https://doc.batch.com/developer/api/mep/trigger-events-api/track-events"
PARAMETERS = "https://doc.batch.com/developer/api/mep/trigger-events-api/parameters"
CUSTOM_ID = "https://doc.batch.com/ios/custom-data/customid/"
SDK = "https://github.com/BatchLabs/Batch-Android-SDK (EventAttributesValidator); the API's pages give no rule"
READ = "2026-11-20"

EVENTS_PER_CALL = 1000
LABEL = 200
ATTRIBUTES = 15
ATTRIBUTE_KEY = 30
ATTRIBUTE_TEXT = 64
SDK_ATTRIBUTES = 20
SDK_ATTRIBUTE_TEXT = 300
TAGS = 10
TAG = 64
USER = 1024
NAME = 30
DAY = 24 * 3600
# Numbers of the errors that say that nothing was taken, by status (TRACK, Responses).
_TROUBLE = {500: 1, 503: 2}

LIMITS = (
    Limit("events per call", EVENTS_PER_CALL, "events", TRACK, READ),
    Limit("age of an event", 24, "hours", PARAMETERS, READ),
    Limit("wait after a 429, at least", 5, "seconds", TRACK, READ),
    Limit("label", LABEL, "characters", PARAMETERS, READ),
    Limit("attributes per event", ATTRIBUTES, "attributes", PARAMETERS, READ),
    Limit("attribute key", ATTRIBUTE_KEY, "characters of a-z, 0-9, _", PARAMETERS, READ),
    Limit("text attribute", ATTRIBUTE_TEXT, "characters", PARAMETERS, READ),
    Limit("tags per event", TAGS, "tags", PARAMETERS, READ),
    Limit("tag", TAG, "characters", PARAMETERS, READ),
    Limit("Custom User ID", USER, "characters", CUSTOM_ID, READ),
    Limit("name after `ue.`", NAME, "characters of a-z, 0-9, _", SDK, READ),
)


class BatchSettings(DestinationSettings):
    """`provider: batch`: one app of Batch; iOS and Android are two destinations."""

    api_key: Credential = Field(description="The app's Live, Dev or SDK API key (Settings → General).")
    rest_api_key: Credential = Field(description="The company's REST API key.")
    event_names: Literal["sdk", "any"] = Field(
        "sdk", description="Names that Batch's SDKs take, or any: the API's pages have no rule."
    )
    attribute_limits: Literal["api", "sdk"] = Field(
        "api",
        description=f"Of the API's page, or of the newer SDKs: {SDK_ATTRIBUTES} of {SDK_ATTRIBUTE_TEXT} characters.",
    )


def _time(column: str) -> jsontext.Native:
    """`YYYY-MM-ddTHH:mm:ss` in UTC, the only form that PARAMETERS shows."""
    return jsontext.Native(pl.col(written(column)), pl.String())


def _attribute(key: str, dtype: pl.DataType) -> tuple[str, jsontext.Member]:
    """Key and value of an attribute; times are typed by their key, `date(key)`, and read as UTC (PARAMETERS)."""
    column = f"properties.{key}"
    if isinstance(dtype, pl.Date):
        return f"date({key})", jsontext.Native(pl.col(column).dt.to_string("%Y-%m-%dT00:00:00"), pl.String())
    if isinstance(dtype, pl.Datetime):
        return f"date({key})", _time(column)
    return key, jsontext.member(pl.col(column), dtype)


def _full_name() -> pl.Expr:
    name = pl.col("name")
    return pl.when(name.str.starts_with("ue.")).then(name).otherwise(pl.concat_str(pl.lit("ue."), name))


class _TrackEvents(Route):
    """What both routes share: events, limits and answers. A call is taken as a whole or not at all, with one token."""

    limits = LIMITS
    events_per_call = EVENTS_PER_CALL
    # A thousand events each may be in doubt.
    concurrency = 8
    floor = 5.0
    window = Window(DAY, PARAMETERS)
    attributes, attribute_text = ATTRIBUTES, ATTRIBUTE_TEXT
    any_name = False

    def under(self, settings: BatchSettings) -> Route:
        """See `Route.under`."""
        route = copy(self)
        route.any_name = settings.event_names == "any"
        if settings.attribute_limits == "sdk":
            route.attributes, route.attribute_text = SDK_ATTRIBUTES, SDK_ATTRIBUTE_TEXT
        return route

    def problems(self, columns: Mapping[str, pl.DataType]) -> list[tuple[str, str]]:
        """Attribute keys and types that Batch never takes (PARAMETERS)."""
        found = []
        for column, dtype in columns.items():
            if not column.startswith("properties."):
                continue
            key = column.removeprefix("properties.")
            if re.fullmatch(r"date\(\w+\)", key):
                found.append((column, f"the loader writes {key} itself: name the property {key[5:-1]}, as: datetime"))
            elif not re.fullmatch(rf"[a-z0-9_]{{1,{ATTRIBUTE_KEY}}}", key):
                found.append(
                    (column, f"Batch takes attribute keys of at most {ATTRIBUTE_KEY} characters of a-z, 0-9 and _")
                )
            if dtype.is_nested() or (is_json(dtype) and not isinstance(dtype, Digits)):
                found.append(
                    (column, "Batch takes texts, numbers, booleans and times as attributes, no lists or objects")
                )
        return found

    def encode(self, columns: Mapping[str, pl.DataType]) -> Encoded:
        """See `Route.encode`; fields `name`, `time`, `label`, `attributes`, `tags` (PARAMETERS)."""
        attributes = {c.removeprefix("properties."): d for c, d in columns.items() if c.startswith("properties.")}
        members = [("name", jsontext.present(_full_name()))]
        if "time" in columns:
            members.append(("time", _time("time")))
        if "label" in columns:
            members.append(("label", jsontext.member(pl.col("label"), columns["label"])))
        if attributes:
            members.append(
                ("attributes", jsontext.inner([_attribute(key, dtype) for key, dtype in attributes.items()]))
            )
        if "tags" in columns:
            members.append(("tags", jsontext.member(pl.col("tags"), columns["tags"])))
        return Encoded(
            event=members,
            user=jsontext.text(pl.col("user")),
            checks=self._checks(columns, attributes),
            times=[column for column, dtype in columns.items() if isinstance(dtype, pl.Datetime)],
        )

    def _checks(self, columns: Mapping[str, pl.DataType], attributes: Mapping[str, pl.DataType]) -> list[Check]:
        checks = [longer("user", USER, f"user: over {USER} characters, the most that Batch takes")]
        if not self.any_name:
            words = (
                f"name: '{{value}}' is not made of 1 to {NAME} characters of a-z, 0-9 and _, as Batch's SDKs want it "
                "(`event_names: any` sends it all the same)"
            )
            unusual = ~pl.col("name").str.contains(rf"^(?:ue\.)?[a-z0-9_]{{1,{NAME}}}$")
            checks.append(Check(unusual, "bad_value", "name", words, pl.col("name")))
        if "label" in columns:
            checks.append(longer("label", LABEL, f"label: over {LABEL} characters"))
        if "tags" in columns:
            tags = pl.col("tags")
            longest = tags.list.eval(pl.element().str.len_chars()).list.max()
            checks.append(over("tags", tags.list.len() > TAGS, f"tags: more than {TAGS}", tags.list.join(", ")))
            checks.append(over("tags", longest > TAG, f"tags: a tag over {TAG} characters", tags.list.join(", ")))
        for key, dtype in attributes.items():
            column, most = f"properties.{key}", self.attribute_text
            words = f"{column}: over {most} characters, the most that Batch takes in an attribute"
            if dtype == pl.String:
                checks.append(longer(column, most, words))
            elif is_json(dtype):
                value = pl.col(column).ext.storage()
                checks.append(over(column, value.str.len_chars() > most, words, value))
        if len(attributes) > self.attributes:
            present = pl.sum_horizontal(pl.col(f"properties.{key}").is_not_null() for key in attributes)
            words = f"properties: {{size}} attributes, Batch takes at most {self.attributes}"
            checks.append(over("properties", present > self.attributes, words, size=present))
        return checks

    def read(self, answer: Answer, rows: Sequence[int]) -> Receipt:
        """See `Route.read`; 201 with a token is success, each error code has its own status (TRACK, Responses)."""
        said = parse_json(answer.body)
        if answer.status == 201 and isinstance(said, dict) and isinstance(said.get("token"), str) and said["token"]:
            return Receipt(Outcome.TAKEN, token=said["token"])
        # A gateway's own JSON has not the number of the error, whose key the page does not tell.
        code = said.get("code", said.get("error_code")) if isinstance(said, dict) else None
        return common_failure(answer, documented=code == _TROUBLE.get(answer.status))


class Bulk(_TrackEvents):
    """`POST /1.0/{api_key}/events/users`: `[{id, events}]`."""

    name = "bulk"
    envelope = Envelope("[", "]", ('{"id":', ',"events":[', "]}"))

    def request(self, settings: BatchSettings, body: bytes, user: str | None) -> Request:
        """See `Route.request`."""
        return Request("POST", _users(settings), _headers(settings), body)


class Single(_TrackEvents):
    """`POST /1.0/{api_key}/events/users/{custom_user_id}`: `{events}` of one user."""

    name = "single"
    envelope = Envelope('{"events":[', "]}")
    users_per_call = 1

    def encode(self, columns: Mapping[str, pl.DataType]) -> Encoded:
        """See `Route.encode`; the user becomes a segment of the path."""
        encoded = super().encode(columns)
        # HTTP clients and servers resolve these segments, percent-encoded too: `.` would be the bulk route.
        dots = Check(
            pl.col("user").is_in(["", ".", ".."]),
            "bad_value",
            "user",
            "user: '{value}' cannot stand in the address of a call; `route: bulk` takes it",
            pl.col("user"),
        )
        return replace(encoded, checks=[*encoded.checks, dots])

    def request(self, settings: BatchSettings, body: bytes, user: str | None) -> Request:
        """See `Route.request`."""
        assert user is not None
        return Request("POST", f"{_users(settings)}/{quote(orjson.loads(user), safe='')}", _headers(settings), body)


def _users(settings: BatchSettings) -> str:
    """The address of the bulk route; the key of the app stands in the path (TRACK, Route)."""
    base = (settings.base_url or BATCH.base_url).rstrip("/")
    return f"{base}/1.0/{quote(settings.api_key.get_secret_value(), safe='')}/events/users"


def _headers(settings: BatchSettings) -> dict[str, str]:
    return {"Content-Type": "application/json", "X-Authorization": settings.rest_api_key.get_secret_value()}


BATCH = Provider(
    name="batch",
    title="Batch",
    base_url="https://api.batch.com",
    settings=BatchSettings,
    routes=(Bulk(), Single()),
    user="Custom User ID",
    fields={
        "label": EventField("text", f"A label of at most {LABEL} characters."),
        "tags": EventField("list", f"At most {TAGS} tags of at most {TAG} characters."),
    },
    id_types=(),
    secrets=("api_key", "rest_api_key"),
)
