"""Metrics of a load: gauges that say how the last `loader run` of a mapping ended.

    --metrics FOLDER, LOADER_METRICS   `loader_<mapping>.prom` there, for the textfile collector of Prometheus' node
                                       exporter (extra `metrics`)
    OTEL_EXPORTER_OTLP_ENDPOINT        also sent there as OTLP over HTTP (extra `otel`); the other variables of
                                       OpenTelemetry hold, too

The names are those of Prometheus; OpenTelemetry has `loader.` where they have `loader_`.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from loader.errors import Exit
from loader.report.ending import Ending

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_EXPORT_SECONDS = 5.0
_LAST_SUCCESS = "last_success_timestamp_seconds"

HELP = {
    "exit_code": "Exit code of the last run.",
    "run_seconds": "What the last run took.",
    "last_run_timestamp_seconds": "When the last run ended, since 1970.",
    _LAST_SUCCESS: "When a run last ended with exit 0 or 3 (some rows or events were rejected), since 1970.",
    "rows": "Rows of the last run: read = filtered + rejected + events.",
    "events": "Events of the last run: total = already_delivered + rejected + sent + in_doubt + pending.",
    "requests": "Requests of the last run.",
}


@dataclass(frozen=True)
class Measure:
    """One number. `name`: of `HELP`."""

    name: str
    labels: Mapping[str, str]
    value: float


def measures(ending: Ending) -> list[Measure]:
    """What is told of a run; rows and events as far as it came. Runs that it finished first are counted with it."""
    mapping, now = {"mapping": ending.mapping.stem}, time.time()
    found = [
        Measure("exit_code", mapping, int(ending.exit_code)),
        Measure("run_seconds", mapping, round(ending.seconds, 3)),
        Measure("last_run_timestamp_seconds", mapping, now),
    ]
    if ending.exit_code in (Exit.DONE, Exit.REJECTED):
        found.append(Measure(_LAST_SUCCESS, mapping, now))
    counts: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}

    def count(name: str, value: int, **labels: str) -> None:
        key = (name, tuple({**mapping, **labels}.items()))
        counts[key] = counts.get(key, 0) + value

    for run in [*ending.before, *([ending.run] if ending.run is not None else [])]:
        for kind, number in asdict(run.rows).items():
            count("rows", number, kind=kind)
        for d in run.destinations:
            for kind, number in asdict(d.events).items():
                count("events", number, destination=d.name, kind=kind)
            count("requests", d.requests, destination=d.name)
    return [*found, *(Measure(name, dict(labels), value) for (name, labels), value in counts.items())]


def measure(ending: Ending, folder: Path | None, env: Mapping[str, str]) -> list[str]:
    """Write and send the metrics of a run as far as that is asked for; a warning for each that failed."""
    warnings = []
    if folder is not None:
        try:
            _write(measures(ending), folder / f"loader_{ending.mapping.stem}.prom")
        except ImportError:
            warnings.append("--metrics needs `pip install 'event-batch-loader[metrics]'`; no metrics are written")
        except OSError as error:
            warnings.append(f"metrics cannot be written to {folder}: {error.strerror}")
    if any(env.get(name) for name in _ENDPOINTS):
        # The variables may be there for other programs: without the extra they are not ours.
        with suppress(ImportError):
            if not _export(measures(ending)):
                warnings.append("the metrics were not taken by the OpenTelemetry endpoint")
    return warnings


def _write(found: Sequence[Measure], path: Path) -> None:
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile  # noqa: PLC0415

    registry = CollectorRegistry()
    gauges: dict[str, Gauge] = {}
    if not any(one.name == _LAST_SUCCESS for one in found):
        found = [*found, *_success_before(path)]
    for one in found:
        if one.name not in gauges:
            gauges[one.name] = Gauge(f"loader_{one.name}", HELP[one.name], list(one.labels), registry=registry)
        gauges[one.name].labels(**one.labels).set(one.value)
    write_to_textfile(str(path), registry)


def _success_before(path: Path) -> list[Measure]:
    """When a run last succeeded, as the file tells that is there."""
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415

    try:
        families = list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return []
    samples = [s for family in families if family.name == f"loader_{_LAST_SUCCESS}" for s in family.samples]
    return [Measure(_LAST_SUCCESS, sample.labels, sample.value) for sample in samples]


def _export(found: Sequence[Measure]) -> bool:
    """Send all once; whether they were taken."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult  # noqa: PLC0415
    from opentelemetry.sdk.resources import (  # noqa: PLC0415
        SERVICE_INSTANCE_ID,
        SERVICE_NAME,
        OTELResourceDetector,
        Resource,
    )

    # What fails is said once, in our own words.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    logging.getLogger("opentelemetry").propagate = False
    reader = InMemoryMetricReader()
    # Not the default for the second, which is another one in every process: that would be another series every night.
    own = {SERVICE_NAME: "loader", SERVICE_INSTANCE_ID: socket.gethostname()}
    given = OTELResourceDetector().detect().attributes
    named = Resource.create({key: value for key, value in own.items() if key not in given})
    meter = MeterProvider([reader], named).get_meter("loader")
    gauges = {name: meter.create_gauge(f"loader.{name}", description=words) for name, words in HELP.items()}
    for one in found:
        gauges[one.name].set(one.value, dict(one.labels))
    data = reader.get_metrics_data()
    timeout = None if os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT") else _EXPORT_SECONDS
    return data is None or OTLPMetricExporter(timeout=timeout).export(data) is MetricExportResult.SUCCESS
