"""The stand-in credentials: the only ones that the sandbox accepts. `KEY_2` is for a second destination."""

from __future__ import annotations

from typing import Final

CREDENTIALS: Final[dict[str, dict[str, str]]] = {
    "appizer": {"api_key": "sandbox-appizer-key", "api_key_2": "sandbox-appizer-key-2"},
    # Batch manages iOS and Android as two apps with a key each, under one REST key.
    "batch": {
        "api_key": "sandbox-api-key",
        "api_key_2": "sandbox-api-key-2",
        "rest_api_key": "sandbox-rest-key",
    },
    "bloomreach": {
        "project_token": "sandbox-project",
        "api_key_id": "sandbox-key-id",
        "api_secret": "sandbox-secret",
        "api_token": "sandbox-token",
    },
    "pushengage": {"api_key": "sandbox-pushengage-key"},
}
