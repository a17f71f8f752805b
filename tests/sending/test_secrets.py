"""Keys that a server repeats in its answer."""

from __future__ import annotations

import base64

import pytest

from loader.providers import PROVIDERS
from loader.providers.bloomreach import BloomreachSettings, Commands
from loader.sending.secrets import sent_forms, without

ID, SECRET, PROJECT = "planted-id", "planted/secret+1=", "planted-project"
BASIC = base64.b64encode(f"{ID}:{SECRET}".encode()).decode()


def hidden() -> list[str]:
    settings = BloomreachSettings(provider="bloomreach", project_token=PROJECT, api_key_id=ID, api_secret=SECRET)
    names = PROVIDERS["bloomreach"].secrets
    values = [getattr(settings, name) for name in names]
    request = Commands().request(settings, b"", None)
    return sent_forms([value.get_secret_value() for value in values if value is not None], request.headers)


@pytest.mark.parametrize(
    "said",
    [
        f"no access for {SECRET}",
        f"no route /track/v2/projects/{PROJECT}/batch?key=planted%2Fsecret%2B1%3D",
        f"Authorization: Basic {BASIC}",
        f"… cut here: {BASIC[:20]}",
        f"… cut here: {SECRET[:9]}",
    ],
)
def test_no_form_of_a_key_is_left(said: str) -> None:
    words = without(said, hidden())
    for secret in (ID, SECRET, "planted%2Fsecret", PROJECT, BASIC, BASIC[:20], SECRET[:9]):
        assert secret not in words
    assert "***" in words


def test_other_words_stay() -> None:
    assert without("HTTP 400: expected application/json", hidden()) == "HTTP 400: expected application/json"
