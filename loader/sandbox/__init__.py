"""The sandbox: a local HTTP server that stands in for the providers exactly as their documents say.

It is written from the providers' documents and shares no code with the rest of the loader, so that a
misreading on one side is not repeated on the other. It runs as a process of its own:

    python -m loader.sandbox --port 0 --fault 429:p=0.2

`serve` blocks until it is told to stop; `CREDENTIALS` are the only credentials that it accepts.
A provider is one file of pure logic (see `standin.StandIn`) and one line in `rehearsal.stand_ins`.
"""

from loader.sandbox.credentials import CREDENTIALS
from loader.sandbox.rehearsal import Options
from loader.sandbox.server import serve

__all__ = ["CREDENTIALS", "Options", "serve"]
