"""A message to a webhook. Its address is a secret and stands in no error."""

from __future__ import annotations

import asyncio

from loader.providers.base import Request
from loader.sending.client import NoAnswer, NothingSent

SECONDS = 5.0


def post(url: str, body: bytes) -> str | None:
    """Post a JSON `body` to `url` once; why it was not taken, or None."""
    return asyncio.run(_post(url, body))


async def _post(url: str, body: bytes) -> str | None:
    # Takes its time to import, like in a delivery.
    from loader.sending.http import HttpClient  # noqa: PLC0415

    request = Request("POST", url, {"Content-Type": "application/json"}, body)
    try:
        async with asyncio.timeout(SECONDS), HttpClient(url, 1, SECONDS) as client:
            answer = await client.send(request)
    except TimeoutError:
        return f"no answer in {SECONDS:g} s"
    except (NothingSent, NoAnswer) as error:
        return str(error)
    except OSError as error:
        # Such as certificates that SSL_CERT_FILE names and nobody finds.
        return error.strerror or type(error).__name__
    return None if 200 <= answer.status < 300 else f"HTTP {answer.status}"
