"""Appizer: events of users, up to 100 in one call. There is no field for a time, and an answer only counts.

Pages read 2026-11-20:
BATCH_TRACK  "Batch track events", https://docs.appizer.com/docs/api/endpoints/events/batch-track
RATE_LIMITS  "Rate limits", https://docs.appizer.com/docs/api/rate-limits
ERRORS       "Errors", https://docs.appizer.com/docs/api/errors
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
from pydantic import Field

from loader import jsontext
from loader.providers.base import (
    Answer,
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
    excerpt,
    http_date,
    over,
    parse_json,
)
from loader.providers.envelope import Envelope

BATCH_TRACK = "https://docs.appizer.com/docs/api/endpoints/events/batch-track"
RATE_LIMITS = "https://docs.appizer.com/docs/api/rate-limits"
READ = "2026-11-20"

EVENTS_PER_CALL = 100
REQUESTS_PER_MINUTE = 100
# No page limits a request or its properties.
BODY_BYTES = 10_000_000
FREE_PER_HOUR = 1000

LIMITS = (
    Limit("events per call", EVENTS_PER_CALL, "events", BATCH_TRACK, READ),
    Limit("requests", REQUESTS_PER_MINUTE, "requests/min", BATCH_TRACK, READ),
    # The page does not say which of the two.
    Limit("plan Free", FREE_PER_HOUR, "requests or events/hour", RATE_LIMITS, READ),
    Limit("plan Free", 10_000, "requests or events/day", RATE_LIMITS, READ),
    Limit("plan Pro", 10_000, "requests or events/hour", RATE_LIMITS, READ),
    Limit("plan Pro", 100_000, "requests or events/day", RATE_LIMITS, READ),
    Limit("one request", BODY_BYTES, "bytes", "none published; the loader's own bound", READ),
)


class AppizerSettings(DestinationSettings):
    """`provider: appizer`: one account of Appizer."""

    api_key: Credential = Field(description="The API key.")


class Batch(Route):
    """`POST /v1/events/batch`: `{events: [{event_name, user_id, properties, ip, ua}]}`."""

    name = "batch"
    limits = LIMITS
    events_per_call = EVENTS_PER_CALL
    bytes_per_call = BODY_BYTES
    envelope = Envelope('{"events":[', "]}")
    # No page promises an order.
    ordered = False
    rate = REQUESTS_PER_MINUTE / 60
    window = Window(None, BATCH_TRACK)

    def warning(self, events: int) -> str | None:
        """See `Route.warning`; the plans' caps come on top of the rate (RATE_LIMITS)."""
        if events <= FREE_PER_HOUR:
            return None
        return (
            f"Appizer's plans have caps of their own (Free: {FREE_PER_HOUR:,} an hour; the page does not say whether "
            f"requests or events). Above the cap of your plan it answers 429; set `rate` to stay below ({RATE_LIMITS})"
        )

    def encode(self, columns: Mapping[str, pl.DataType]) -> Encoded:
        """See `Route.encode`; fields `event_name`, `user_id`, `properties`, `ip`, `ua` (BATCH_TRACK)."""
        properties = [
            (c.removeprefix("properties."), jsontext.member(pl.col(c), dtype))
            for c, dtype in columns.items()
            if c.startswith("properties.")
        ]
        members = [(key, jsontext.present(pl.col(c))) for key, c in (("event_name", "name"), ("user_id", "user"))]
        if properties:
            members.append(("properties", jsontext.inner(properties)))
        for key, column in (("ip", "ip"), ("ua", "user_agent")):
            if column in columns:
                members.append((key, jsontext.member(pl.col(column), columns[column])))
        size = jsontext.obj(members).str.len_bytes()
        words = f"the event: {{size}} bytes, the loader sends at most {BODY_BYTES} in a request"
        most = BODY_BYTES - len(self.envelope)
        check = over("event", size > most, words, size=size, from_bytes=most)
        return Encoded(event=members, user=pl.lit(None, pl.String), checks=[check])

    def request(self, settings: AppizerSettings, body: bytes, user: str | None) -> Request:
        """See `Route.request`."""
        base = (settings.base_url or APPIZER.base_url).rstrip("/")
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {settings.api_key.get_secret_value()}",
        }
        return Request("POST", f"{base}/v1/events/batch", headers, body)

    def read(self, answer: Answer, rows: Sequence[int]) -> Receipt:
        """See `Route.read`; only `success` with the right `processed_count` is success (BATCH_TRACK).

        No page tells which events are missing from a smaller count, so the whole chunk is in doubt then.
        """
        said = parse_json(answer.body)
        if not 200 <= answer.status < 300:
            # A gateway's own JSON has neither of the two (ERRORS).
            receipt = common_failure(answer, documented=isinstance(said, dict) and bool({"error", "code"} & set(said)))
            asked = receipt.wait if receipt.wait is not None else _asked_to_wait(answer, said)
            return replace(receipt, wait=asked) if receipt.outcome is Outcome.NOT_TAKEN else receipt
        count = said.get("processed_count") if isinstance(said, dict) else None
        if isinstance(said, dict) and said.get("success") is True and type(count) is int and count == len(rows):
            return Receipt(Outcome.TAKEN)
        told = f"processed_count {count}" if type(count) is int else "no processed_count"
        message = f"HTTP {answer.status}: {told} for {len(rows)} events: {excerpt(answer.body)}"
        return Receipt(Outcome.IN_DOUBT, message=message)


def _asked_to_wait(answer: Answer, said: object) -> float | None:
    """Seconds of `details.retry_after`, else until `X-RateLimit-Reset`, a Unix time (ERRORS, RATE_LIMITS)."""
    details = said.get("details") if isinstance(said, dict) else None
    seconds = details.get("retry_after") if isinstance(details, dict) else None
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds >= 0:
        return float(seconds)
    reset = answer.headers.get("x-ratelimit-reset", "")
    if answer.status != 429 or not (reset.isascii() and reset.isdigit() and len(reset) < 12):
        return None
    now = http_date(answer.headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, float(reset) - now.timestamp())


APPIZER = Provider(
    name="appizer",
    title="Appizer",
    base_url="https://api.appizer.com",
    settings=AppizerSettings,
    routes=(Batch(),),
    user="user_id",
    fields={
        "ip": EventField("text", "The IP address of the user."),
        "user_agent": EventField("text", "The user agent of the user's device or browser (`ua`)."),
    },
    id_types=(),
    secrets=("api_key",),
)
