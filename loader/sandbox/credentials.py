"""The stand-in credentials: the only ones that the sandbox accepts."""

from __future__ import annotations

from typing import Final

CREDENTIALS: Final[dict[str, dict[str, str]]] = {
    "batch": {"api_key": "sandbox-api-key", "rest_api_key": "sandbox-rest-key"},
    "bloomreach": {
        "project_token": "sandbox-project",
        "api_key_id": "sandbox-key-id",
        "api_secret": "sandbox-secret",
        "api_token": "sandbox-token",
    },
}

# Batch manages iOS and Android as two apps with a key each, under one REST key.
BATCH_SECOND_API_KEY: Final = "sandbox-api-key-2"
