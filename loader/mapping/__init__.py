"""The mapping file: YAML → checked models → polars expressions → events.

`read` a file, `bind` it to the columns of its source, then let it `keep` rows and make `events` of each frame.
"""

from __future__ import annotations

from loader.mapping.bind import Bound, BoundDestination, Kept, Mapped, bind
from loader.mapping.language import Destination, Event, EventValue, Mapping
from loader.mapping.read import StandIns, read
from loader.mapping.schema import json_schema

__all__ = [
    "Bound",
    "BoundDestination",
    "Destination",
    "Event",
    "EventValue",
    "Kept",
    "Mapped",
    "Mapping",
    "StandIns",
    "bind",
    "json_schema",
    "read",
]
