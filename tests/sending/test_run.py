"""What is made ready before anything is sent."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import asyncio, threading
from loader.sending import prepare
from loader.providers.base import Request
prepare()
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join()
from loader.sending.client import NothingSent
from loader.sending.http import HttpClient

async def ask():
    async with HttpClient("http://127.0.0.1:1", 1, 1.0) as client:
        try:
            await client.send(Request("POST", "http://127.0.0.1:1/x", {}, b""))
        except NothingSent:
            print("nobody listens")

asyncio.run(ask())
"""


def test_what_is_imported_beside_other_work_outlives_the_thread_that_imports_it() -> None:
    ended = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "nobody listens\n"), ended.stderr
