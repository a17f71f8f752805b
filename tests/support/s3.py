"""An S3 server as a process, and a relay before it that counts and cuts."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx

# What says how to reach S3: none of it may come from where the tests run.
KEYS = {
    "AWS_ACCESS_KEY_ID": "test-key-id",
    "AWS_SECRET_ACCESS_KEY": "test-secret-key",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
}


@dataclass(frozen=True)
class S3:
    """A server."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str = "s3") -> Any:
        """boto3's client of the server."""
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        return boto3.client(service, endpoint_url=self.url, **keys)

    def put(self, bucket: str, **objects: bytes) -> None:
        """A bucket, made anew if need be, with these objects."""
        self.put_all(bucket, objects)

    def put_all(self, bucket: str, objects: dict[str, bytes]) -> None:
        """The same, for names that are no words."""
        client = self.client()
        client.create_bucket(Bucket=bucket)
        for key, content in objects.items():
            client.put_object(Bucket=bucket, Key=key, Body=content)

    def authenticate(self, on: bool) -> None:
        """From now on, whether keys are proven."""
        httpx.post(f"{self.url}/moto-api/reset-auth", content=b"0" if on else b"1000000000").raise_for_status()


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    """moto's server in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
            env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "1000000000"},
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert time.monotonic() < deadline, "the S3 server does not start"
                assert process.poll() is None, (folder / "s3.log").read_text()
                time.sleep(0.05)
            yield S3(port)
        finally:
            process.kill()
            process.wait()


class Relay:
    """Passes connections on. `requests`: the first lines of what was asked. `sent`: bytes that came back.
    `cuts`: so many answers to GETs of objects are cut off after `cut_after` bytes, or (`stalls`) go on no more."""

    def __init__(self, to: int) -> None:
        self._to = to
        self.requests: list[str] = []
        self.sent = 0
        self.cuts, self.cut_after, self.stalls = 0, 0, False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """How a client reaches the server through it."""
        return {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

    def gets(self, bucket: str) -> list[str]:
        """The GETs of objects of `bucket`, not of its list."""
        return [line for line in self.requests if line.startswith(f"GET /{bucket}/")]

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                state = {"object": False}
                threading.Thread(target=self._ask, args=(near, far, state), daemon=True).start()
                threading.Thread(target=self._answer, args=(near, far, state), daemon=True).start()

    def _ask(self, near: socket.socket, far: socket.socket, state: dict[str, bool]) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(1 << 16):
                line = data.split(b"\r\n", 1)[0].decode()
                self.requests.append(line)
                state["object"] = re.match(r"GET /[^/?]+/[^? ]", line) is not None
                far.sendall(data)
        self._end(near, far)

    def _answer(self, near: socket.socket, far: socket.socket, state: dict[str, bool]) -> None:
        with contextlib.suppress(OSError):
            passed = 0
            while data := far.recv(1 << 16):
                if state["object"] and self.cuts:
                    data = data[: max(0, self.cut_after - passed)]
                near.sendall(data)
                passed += len(data)
                self.sent += len(data)
                if state["object"] and self.cuts and passed >= self.cut_after:
                    self.cuts -= 1
                    while self.stalls:
                        time.sleep(0.05)
                    break
        self._end(near, far)

    @staticmethod
    def _end(*connections: socket.socket) -> None:
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
