"""What a delivery knows of the network. An error tells whether the request can have reached the provider."""

from __future__ import annotations

from typing import Protocol

from loader.providers.base import Answer, Request


class NothingSent(Exception):
    """The request did not leave: no connection, no name, no TLS."""


class NoAnswer(Exception):
    """The request left, wholly or partly, and no complete answer came back."""


class Client(Protocol):
    """Something that carries requests of one destination; see `http.HttpClient`."""

    async def send(self, request: Request) -> Answer:
        """The complete answer to `request`. Raises NothingSent or NoAnswer, with words that hold no URL."""
