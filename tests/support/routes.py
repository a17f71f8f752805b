"""The routes of all providers, and how a project sends its rows there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.support.project import Project, credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox


@dataclass(frozen=True)
class Way:
    """A route and what goes there. `full`: events of a full call; `policy`: of chunks in doubt, where none is given."""

    provider: str
    route: str
    full: int
    policy: str = "hold"
    what: str = "event"

    @property
    def ordered(self) -> bool:
        """Whether a user's events arrive in their order."""
        return self.provider != "bloomreach"

    def rows(self, calls: int) -> int:
        """How many rows fill that many calls; one row more than fills all but the last."""
        return calls if self.full == 1 else (calls - 1) * self.full + 1


WAYS = [
    Way("batch", "bulk", 1000),
    Way("batch", "single", 1000),
    Way("appizer", "batch", 100),
    Way("bloomreach", "batch", 50, "resend"),
    Way("bloomreach", "single", 1, "resend"),
    Way("bloomreach", "batch", 50, "resend", "customer"),
    Way("bloomreach", "single", 1, "resend", "customer"),
    Way("pushengage", "single", 1),
]
_WITHOUT_TIME = ["appizer", "pushengage"]


def destination(way: Way, stand_in: RunningSandbox, **settings: Any) -> dict[str, Any]:
    """A destination that goes `way`, to the sandbox; a setting of None is left out."""
    own: dict[str, Any] = {"route": way.route}
    if way.provider in _WITHOUT_TIME:
        own["late_events"] = "omit_time"
    if way.provider == "appizer":
        own["rate"] = "6000/min"
    given = {**credentials(way.provider, stand_in.url), **own, **settings}
    return {key: value for key, value in given.items() if value is not None}


def prepare(
    project: Project, stand_in: RunningSandbox, way: Way, rows: int | list[list[object]], **settings: Any
) -> None:
    """Data and a mapping that goes `way`; seven users, or two where each has a call of its own."""
    project.csv(
        numbered(rows, 2 if (way.provider, way.route) == ("batch", "single") else 7) if isinstance(rows, int) else rows
    )
    mapping = simple_mapping(destination(way, stand_in, **settings))
    if way.what == "customer":
        event = mapping.pop("event")
        mapping["customer"] = {key: event[key] for key in ("user", "time", "properties")}
    project.mapping(mapping)
