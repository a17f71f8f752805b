"""PushEngage: one event of one subscriber a call, which starts the workflows that wait for it; no field for a time.

Page read 2026-11-20:
TRACK  "Track Event", https://www.pushengage.com/api/rest-api/events/track-event

The main id of a user, `user`, is `profile_id`: it is the one that is chosen by whoever sends, and the one that wins
where both are given (TRACK). So an event carries one of the two, `device_token_hash` only where there is no profile.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

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
    Limit,
    Outcome,
    Provider,
    Receipt,
    Request,
    Route,
    Window,
    common_failure,
    excerpt,
    longer,
    over,
    parse_json,
    plain,
)
from loader.providers.envelope import Envelope

TRACK = "https://www.pushengage.com/api/rest-api/events/track-event"
READ = "2026-11-20"

NAME = 64
RESERVED = "PushEngage."
KEY = 255
# "4KB" is read as 4096 bytes of JSON; the page does not say how it is measured.
DATA_BYTES = 4 * 1024

LIMITS = (
    Limit("events per call", 1, "event", TRACK, READ),
    Limit("event name", NAME, "characters", TRACK, READ),
    Limit("key of data", KEY, "letters, digits, - and _", TRACK, READ),
    Limit("data", DATA_BYTES, "bytes", TRACK, READ),
)

# Numbers of errors (TRACK, Response): the provider's own trouble, and a missing or wrong key.
_SOMETHING_WRONG = 1001
_API_KEY = range(401000, 402000)


class PushEngageSettings(DestinationSettings):
    """`provider: pushengage`: one site of PushEngage."""

    api_key: Credential = Field(description="The API key.")


class Single(Route):
    """`POST /api/v1/events`: `{event_name, profile_id or device_token_hash, data}`."""

    name = "single"
    limits = LIMITS
    events_per_call = 1
    envelope = Envelope()
    window = Window(None, TRACK)

    def problems(self, columns: Mapping[str, pl.DataType]) -> list[tuple[str, str]]:
        """Keys and types of `data` that PushEngage never takes, and ids that would never be used (TRACK)."""
        found = []
        if "user" in columns and "ids.profile_id" in columns:
            found.append(("ids.profile_id", "`user` is PushEngage's profile_id already; map one of the two"))
        if "user" in columns and "ids.device_token_hash" in columns:
            words = (
                "PushEngage uses profile_id, which is `user`, where both are given, so this id would never be used; "
                "take one of the two out, or map both under `ids`: then it is used for events without a profile_id"
            )
            found.append(("ids.device_token_hash", words))
        for column, dtype in columns.items():
            if not column.startswith("properties."):
                continue
            if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{KEY - 1}}}", column.removeprefix("properties.")):
                words = (
                    f"PushEngage takes keys of at most {KEY} letters, digits, - and _, beginning with neither - nor _"
                )
                found.append((column, words))
            if dtype.is_nested() or (is_json(dtype) and not isinstance(dtype, Digits)):
                found.append((column, "PushEngage takes texts, numbers, booleans and times, no lists or objects"))
        return found

    def encode(self, columns: Mapping[str, pl.DataType]) -> Encoded:
        """See `Route.encode`; fields `event_name`, `profile_id` or `device_token_hash`, `data` (TRACK)."""
        properties = {c: dtype for c, dtype in columns.items() if c.startswith("properties.")}
        data = [(c.removeprefix("properties."), jsontext.member(pl.col(c), dtype)) for c, dtype in properties.items()]
        ids = _ids(columns)
        members = [("event_name", jsontext.present(pl.col("name"))), *ids]
        if properties:
            members.append(("data", jsontext.inner(data)))
        name, size = pl.col("name"), jsontext.obj(data).str.len_bytes()
        checks = [
            longer("name", NAME, f"name: over {NAME} characters, the most that PushEngage takes"),
            Check(
                name.str.starts_with(RESERVED),
                "bad_value",
                "name",
                f"name: '{{value}}' begins with {RESERVED}, which PushEngage keeps for itself",
                name,
            ),
        ]
        if properties:
            words = f"properties: {{size}} bytes, PushEngage takes at most {DATA_BYTES} in `data`"
            checks.append(over("properties", size > DATA_BYTES, words, size=size, from_bytes=DATA_BYTES))
        user = pl.coalesce(jsontext.text(given.expr) for _, given in ids)
        return Encoded(event=members, user=user, checks=checks)

    def request(self, settings: PushEngageSettings, body: bytes, user: str | None) -> Request:
        """See `Route.request`."""
        base = (settings.base_url or PUSHENGAGE.base_url).rstrip("/")
        headers = {"Content-Type": "application/json", "Api-Key": settings.api_key.get_secret_value()}
        return Request("POST", f"{base}/api/v1/events", headers, body)

    def read(self, answer: Answer, rows: Sequence[int]) -> Receipt:
        """See `Route.read`; success is `error_code` 0, a failure has its number in `error_code` or `error.code`."""
        said = parse_json(answer.body)
        if not isinstance(said, dict):
            return common_failure(answer, documented=False)
        error = said.get("error")
        told = error if isinstance(error, dict) else said
        number = told.get("code", told.get("error_code"))
        code = number if type(number) is int else None
        if answer.status == 200 and error is None and code == 0:
            return Receipt(Outcome.TAKEN)
        message = f"HTTP {answer.status}: code {plain(number)}: {_words(told)}"
        if code in _API_KEY:
            return Receipt(Outcome.STOPPED, message=message)
        if answer.status not in (200, 400) or code is None:
            return common_failure(answer, documented=code is not None)
        if code == _SOMETHING_WRONG:
            return Receipt(Outcome.NOT_TAKEN, message=message)
        return Receipt(Outcome.REFUSED, message=message)


def _ids(columns: Mapping[str, pl.DataType]) -> list[tuple[str, jsontext.Native]]:
    """The members of an event that name its subscriber; of each event one is there, the other null."""
    profile = "user" if "user" in columns else "ids.profile_id"
    found: list[tuple[str, jsontext.Native]] = []
    taken = pl.lit(False)
    for key, column in (("profile_id", profile), ("device_token_hash", "ids.device_token_hash")):
        if column in columns:
            given = pl.col(column).str.strip_chars().str.len_bytes() > 0
            found.append((key, jsontext.Native(pl.when(given & ~taken).then(pl.col(column)), pl.String())))
            taken = given.fill_null(False)
    return found


def _words(error: Mapping[str, object]) -> str:
    """What an error says, with the path of each detail."""
    details = error.get("details")
    told = [_detail(one) for one in details if isinstance(one, dict)] if isinstance(details, list) else []
    words = "; ".join([plain(error.get("message") or error.get("error_message") or "failed"), *told])
    return excerpt(words.encode())


def _detail(detail: Mapping[str, object]) -> str:
    path, words = detail.get("path"), plain(detail.get("message") or "invalid")
    where = ".".join(map(plain, path)) if isinstance(path, list) else ""
    return f"{where}: {words}" if where else words


PUSHENGAGE = Provider(
    name="pushengage",
    title="PushEngage",
    base_url="https://s2s.pushengage.com",
    settings=PushEngageSettings,
    routes=(Single(),),
    user="profile_id",
    fields={},
    id_types=("profile_id", "device_token_hash"),
    secrets=("api_key",),
)
