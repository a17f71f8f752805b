"""Keys that a server repeats in its answer."""

from __future__ import annotations

import base64
import re

import pytest

from loader.providers import PROVIDERS
from loader.providers.bloomreach import BloomreachSettings, Commands
from loader.sending.secrets import LONGEST_HINT, sent_forms, without

ID, SECRET, PROJECT = "planted-id", "planted/secret+1=", "planted-project"
BASIC = base64.b64encode(f"{ID}:{SECRET}".encode()).decode()


def hidden() -> tuple[str, ...]:
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
        f"… cut inside a character: {SECRET[:7]}%2",
        f"… cut inside a character: {SECRET[:7]}\\u00",
        '{"said": "planted\\/secret+1="}',
        '{"said": "' + "".join(f"\\u{ord(c):04x}" for c in SECRET) + '"}',
        "PLANTED%2fSECRET%2b1%3D",
        "planted&#x2F;secret&#43;1&#61;",
    ],
)
def test_no_form_of_a_key_is_left(said: str) -> None:
    words = without(said, hidden())
    plain = re.sub(r"\\u00(..)|%(..)|&#x(..);", lambda m: chr(int(m[1] or m[2] or m[3], 16)), words).lower()
    for secret in (ID, SECRET, PROJECT, BASIC, BASIC[:20], SECRET[:9]):
        assert secret.lower() not in plain
    assert "***" in words


@pytest.mark.parametrize("before", range(4))
def test_base64_of_anything_with_a_key_in_it_is_hidden(before: int) -> None:
    around = b"x" * before + SECRET.encode() + b"yy"
    for text in (base64.b64encode(around).decode(), base64.urlsafe_b64encode(around).decode()):
        # What is left are the characters of what stands around the key.
        assert re.fullmatch(r"got \S{,6}\*\*\*\S{,6}", without(f"got {text}", hidden()))


def test_other_words_stay() -> None:
    assert without("HTTP 400: expected application/json", hidden()) == "HTTP 400: expected application/json"


def test_a_long_key_is_hidden_wherever_it_is_cut() -> None:
    key = "".join(f"{n:04d}" for n in range(500))
    for length in (6, 63, 64, 65, 100, 1999, 2000):
        assert without(f"wrong: {key[:length]}", (key,)) == "wrong: ***"


@pytest.mark.parametrize("form", ["{}", "\\\\{}", "%{:02x}", "\\u{:04x}", "&#{};", "&#x{:x};"])
def test_a_key_is_hidden_from_its_fifth_character_on(form: str) -> None:
    key = "key12345"
    written = [form.format(character if form.endswith("{}") else ord(character)) for character in key]
    for shown in range(1, 9):
        text = "".join(written[:shown])
        assert without(f"wrong: {text}", (key,)) == f"wrong: {text if shown <= LONGEST_HINT else '***'}"


def test_what_cannot_be_a_key_is_not_hidden() -> None:
    assert without("HTTP 400: wrong: 0000", ("000000000",)) == "HTTP 400: wrong: 0000"
    assert without("HTTP 400", ()) == "HTTP 400"
