"""Load events from files and databases into marketing and product providers: see `loader.pipeline`."""

from __future__ import annotations

import os

# For the allocator inside polars, which reads this when it is first imported. Frames come and go many times a second;
# giving their memory back to the system as soon as polars does by default costs a quarter of the plan's time. After ten
# seconds it is given back for good, or a long run would seem to need more and more.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:0,narenas:1")
