"""Objects in S3, Google Cloud Storage and Azure: found by name or glob, read block by block.

obstore makes the requests, and tries them again. The environment says how to reach a store, as it does for the clouds'
own tools; credentials of S3 are looked for by boto3, which knows profiles and roles as well.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from loader.errors import NoFileMatches, SourceError

try:
    import boto3
    import obstore
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.exceptions import BaseError, PreconditionError
    from obstore.store import AzureStore, GCSStore, S3Store
except ImportError as error:
    raise SourceError(
        f"s3://, gs:// and az:// need packages that are not installed ({error.name}): "
        "pip install 'event-batch-loader[cloud]'"
    ) from None

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

# A request each, so that none lasts long and a broken one costs little.
BLOCK_BYTES = 8 << 20
_RETRIES: Any = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}
_FAILURES = (BaseError, OSError, ValueError)
_TOLD = [re.compile(words) for words in (r"status code: (\d+ [A-Za-z ]+)", r"<Code>(\w+)</Code>", r"HTTP error: (.+)")]
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "GOOGLE_BASE_URL", "AZURE_STORAGE_ENDPOINT")
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role; AWS_REGION",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, or the machine's role",
    "az": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY, or the machine's role",
}


@dataclass(frozen=True)
class _Object:
    """See `remote.Object`."""

    name: str
    size: int
    modified: datetime
    tag: str | None
    store: ObjectStore
    key: str

    def blocks(self) -> Iterator[bytes]:
        for start in range(0, self.size, BLOCK_BYTES):
            wanted: Any = {"range": (start, start + BLOCK_BYTES)} | ({"if_match": self.tag} if self.tag else {})
            try:
                block = asyncio.run(_block(self.store, self.key, wanted))
            except PreconditionError:
                raise SourceError(
                    f"{self.name} changed while it was read; nothing of this read is kept. "
                    "Run again when the file is complete."
                ) from None
            except _FAILURES as error:
                raise _failure(self.name, error) from None
            yield block


class Stores:
    """The stores that were opened, by the beginning of their addresses."""

    def __init__(self) -> None:
        self._open: dict[str, ObjectStore] = {}

    def find(self, address: str) -> list[_Object]:
        """The objects that `address` names, a glob's in the order of their names. Raises SourceError where it finds
        none."""
        if "@" in address.split("/")[2]:
            raise SourceError("credentials do not belong in an address; the environment gives them")
        match = re.fullmatch(r"([A-Za-z0-9]+://)([^/]+)/+(.*[^/])", address, re.DOTALL)
        if match is None:
            raise SourceError(f"{address} names no files; name them, such as {address.rstrip('/')}/*.csv")
        root, key = match[1].lower() + match[2], match[3]
        try:
            if root not in self._open:
                self._open[root] = _open(match[1].lower().removesuffix("://"), match[2])
            store = self._open[root]
            found = asyncio.run(_matches(store, key) if any(c in key for c in "*?[") else _named(store, key))
        except _FAILURES as error:
            raise _failure(address, error) from None
        if not found:
            raise NoFileMatches(f"{address}: no file matches")
        return [
            _Object(f"{root}/{item['path']}", item["size"], item["last_modified"], item["e_tag"], store, item["path"])
            for item in found
        ]


def _open(scheme: str, bucket: str) -> ObjectStore:
    # Without TLS only where the environment asks for it.
    plain = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
    options: Any = {
        "client_options": {"connect_timeout": "10s", "timeout": "60s", "allow_http": plain},
        "retry_config": _RETRIES,
    }
    if scheme == "gs":
        return GCSStore(bucket, **options)
    if scheme == "az":
        return AzureStore(bucket, **options)
    try:
        session = boto3.Session()
        credentials = session.get_credentials()
        if credentials is None:
            return S3Store(bucket, skip_signature=True, **options)
        # A login that has expired is known before the first request.
        credentials.get_frozen_credentials()
    except BotoCoreError as error:
        raise SourceError(f"s3://{bucket}: the credentials cannot be used: {error}") from None
    return S3Store(bucket, credential_provider=Boto3CredentialProvider(session), **options)


# Only asyncio lets go of a request when a signal arrives.


async def _block(store: ObjectStore, key: str, options: Any) -> bytes:
    return bytes(await (await obstore.get_async(store, key, options=options)).bytes_async())


async def _named(store: ObjectStore, key: str) -> Sequence[ObjectMeta]:
    return [await obstore.head_async(store, key)]


async def _matches(store: ObjectStore, pattern: str) -> Sequence[ObjectMeta]:
    """The objects that `pattern` matches; an object with exactly this name is the only one."""
    parts = pattern.split("/")
    fixed = next(i for i, part in enumerate(parts) if any(c in part for c in "*?["))
    found, folders = [], set()
    async for page in obstore.list(store, "/".join(parts[:fixed]) or None, chunk_size=1000):
        for item in page:
            folders.add(item["path"].rpartition("/")[0])
            if item["path"] == pattern:
                return [item]
            if _fits(item["path"].split("/"), parts):
                found.append(item)
    # Tools that show folders make an empty object for each.
    found = [item for item in found if item["size"] or item["path"] not in folders]
    return sorted(found, key=lambda item: item["path"].split("/"))


def _fits(key: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path fit those of a glob, where `**` stands for any number of folders."""
    if not pattern:
        return not key
    if pattern[0] == "**":
        return any(_fits(key[skipped:], pattern[1:]) for skipped in range(len(key)))
    return bool(key) and fnmatchcase(key[0], pattern[0]) and _fits(key[1:], pattern[1:])


def _failure(name: str, error: Exception) -> SourceError:
    """The error of a request, without its address and the answer's details: they hold keys and signatures."""
    if isinstance(error, FileNotFoundError):
        return SourceError(f"{name}: there is no such file, or its bucket is missing")
    text = str(error)
    told = [found[1].strip() for words in _TOLD if (found := words.search(text))]
    words = ", ".join(told) or re.sub(r"\S+://\S+", "…", text.splitlines()[0] if text else type(error).__name__)
    # A store that lacks a setting is never asked; where nothing else gives credentials, the machine's metadata are.
    unset = "metadata" in text or (text.startswith("Generic") and not told)
    if unset or words.startswith(("401", "403")):
        ways = _CREDENTIALS[name.partition("://")[0].lower()]
        return SourceError(f"{name} cannot be read: {words}; check the credentials: {ways}")
    return SourceError(f"{name} cannot be read: {words}")
