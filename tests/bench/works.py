"""The works of the race: which rows go where, in what mapping, and how much faster than whom the loader has to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_EVENT = """\
timezone: UTC
event:
  user: user_id
  name: event
{time}  properties:
    product: product
    amount: CAST(amount AS DOUBLE)
    quantity: CAST(quantity AS BIGINT)
    channel: channel
    ordered_at: {{expr: ordered_at, as: datetime}}
"""

# Batch has a field for the label and one for the tags; to others they are properties. PushEngage takes no list. Appizer
# and PushEngage take no time. The rates are out of the way.
_TIME = "  time: occurred_at\n"
_LABEL = "    label: label\n"
_LIST = "    tags: STRING_TO_ARRAY(tags, '|')\n"
_OWN = {
    "batch": (_TIME, "  label: label\n  tags: STRING_TO_ARRAY(tags, '|')\n", "api_key: key, rest_api_key: rest-key"),
    "bloomreach": (_TIME, _LABEL + _LIST, "project_token: project, api_token: token, rate: 1000000/s"),
    "appizer": ("", _LABEL + _LIST, "api_key: key, rate: 1000000/s"),
    "pushengage": ("", _LABEL + "    tags: tags\n", "api_key: key"),
}


@dataclass(frozen=True)
class Target:
    """The loader does at least `ratio` times as many events a second as `peer`."""

    peer: str
    ratio: float
    note: str = ""


@dataclass(frozen=True)
class Work:
    """`rows`: with `--rows 1000000`; others in proportion. `delay`: seconds to each answer. `slow`: peers that take
    minutes for it, and are asked for by name. `ideal`: requests a second that the connections and the delay allow, and
    the share of it that has to be reached. `environment`: of the loader."""

    name: str
    source: str
    provider: str
    rows: int
    targets: tuple[Target, ...] = ()
    peers: tuple[str, ...] = ("script", "bare", "limit")
    delay: float = 0.0
    connections: int | None = None
    ideal: tuple[float, float] | None = None
    most_megabytes: int | None = None
    environment: tuple[tuple[str, str], ...] = ()


_MILLION = 1_000_000
WORKS = (
    Work(
        "csv-batch",
        "csv",
        "batch",
        _MILLION,
        (Target("script", 5), Target("dlt-rows", 20), Target("dlt-arrow", 6), Target("drt", 12)),
        ("script", "pandas", "dlt-rows", "dlt-arrow", "drt", "bare", "limit"),
        most_megabytes=400,
    ),
    Work("csv-appizer", "csv", "appizer", _MILLION, (Target("script", 4),), most_megabytes=400),
    Work("csv-bloomreach", "csv", "bloomreach", _MILLION, (Target("script", 4),), most_megabytes=400),
    Work("csv-pushengage", "csv", "pushengage", _MILLION // 10, (Target("script", 4),)),
    Work("far-pushengage", "csv", "pushengage", _MILLION // 100, (), (), 0.1, 64, (640.0, 0.85)),
    Work("parquet-batch", "parquet", "batch", _MILLION, (), ("script",), most_megabytes=400),
    Work(
        "postgres-batch",
        "postgres",
        "batch",
        _MILLION,
        (Target("script", 2.5, "of a server-side cursor"),),
        ("script",),
        most_megabytes=400,
    ),
    Work(
        "postgres-copy",
        "postgres",
        "batch",
        _MILLION,
        (Target("script", 1.5, "of a server-side cursor"),),
        ("script",),
        most_megabytes=400,
        environment=(("LOADER_POSTGRES", "copy"),),
    ),
)


def write_mapping(work: Work, source: str, url: str, folder: Path) -> Path:
    """A mapping file in `folder` that sends `source` (see `peers`) to the sink at `url`."""
    if work.source == "postgres":
        database, table = source.rsplit("#", 1)
        read = f"{{type: sql, url: '{database}', query: 'SELECT * FROM \"{table}\"'}}"
    else:
        read = f"{{type: {work.source}, path: {source}}}"
    time, own, settings = _OWN[work.provider]
    if work.connections is not None:
        settings += f", concurrency: {work.connections}"
    mapping = folder / f"{work.name}.yaml"
    mapping.write_text(
        f"source: {read}\n{_EVENT.format(time=time)}{own}"
        f"destinations:\n  - {{provider: {work.provider}, {settings}, base_url: '{url}'}}\n",
        encoding="utf-8",
    )
    return mapping
