"""Settings of destinations, and how long an answer asks to wait."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from loader.providers.base import Answer, DestinationSettings, retry_after


@pytest.mark.parametrize(
    "url",
    [
        *("https://api.example.com/v1/", "https://bücher.example", "http://127.0.0.1:8080", "http://[::1]:80"),
        *("http://localhost:8080", "http://stand-in:8080", "http://10.0.0.7", "http://api.internal"),
    ],
)
def test_addresses(url: str) -> None:
    assert DestinationSettings(provider="batch", base_url=url).base_url == url


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999", "http://host:0", "http://[::1", "http://a..b", "https://:80"]
)
def test_an_address_to_which_no_request_can_be_made_is_wrong_in_the_mapping(url: str) -> None:
    with pytest.raises(ValidationError, match="expected an address such as"):
        DestinationSettings(provider="batch", base_url=url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://user:planted@api.example.com", "without a user"),
        ("https://planted@api.example.com", "without a user"),
        ("https://api.example.com/?key=planted", "without a user"),
        ("https://api.example.com/#planted", "without a user"),
        ("https://api.example.com?", "without a user"),
        ("http://api.example.com/planted", "expected https"),
        ("http://8.8.8.8/planted", "expected https"),
        ("http://127.0.0.1.example.com/planted", "expected https"),
    ],
)
def test_an_address_that_would_give_keys_away_is_wrong_in_the_mapping(url: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words) as wrong:
        DestinationSettings(provider="batch", base_url=url)
    assert "planted" not in str(wrong.value)


@pytest.mark.parametrize(
    ("asked", "date", "seconds"),
    [
        ("Sat, 21 Nov 2026 00:00:09", "Sat, 21 Nov 2026 00:00:00 GMT", 9.0),
        ("Sat, 21 Nov 2026 00:00:09 -0000", "Sat, 21 Nov 2026 00:00:00", 9.0),
        ("Sat, 21 Nov 2020 00:00:09 GMT", "no date at all", 0.0),
        ("Sat, 21 Nov 2020 00:00:09 GMT", "", 0.0),
        ("\u00b2", "", None),
        ("9" * 400, "", 1e9),
        ("0.25", "", 0.25),
        ("-5", "", None),
    ],
)
def test_headers_that_servers_really_send(asked: str, date: str, seconds: float | None) -> None:
    assert retry_after(Answer(429, {"retry-after": asked, "date": date}, b"")) == seconds
