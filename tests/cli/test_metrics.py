"""Metrics of a load: a textfile as Prometheus reads it, and OTLP as a collector gets it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.conftest import QuickProject
from tests.support.project import credentials, numbered, simple_mapping
from tests.support.sandbox import RunningSandbox
from tests.support.wire import Wire

Samples = dict[tuple[str, str, str], float]


def read(path: Path) -> Samples:
    """Name, destination and kind → value. Every sample is of the mapping `load`."""
    found = {}
    for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
        assert family.type == "gauge"
        assert family.documentation
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("mapping") == "load"
            found[sample.name, labels.pop("destination", ""), labels.pop("kind", "")] = sample.value
            assert not labels
    return found


def simple(project: QuickProject, stand_in: RunningSandbox, rows: int = 20) -> str:
    project.csv([*numbered(rows), ["x", "", "never"]])
    return str(project.mapping(simple_mapping(*(credentials(n, stand_in.url) for n in ("bloomreach", "batch")))))


def test_a_textfile_for_prometheus(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, stand_in)
    Path("metrics").mkdir()
    before = time.time()
    assert project.process("run", path, "--metrics", "metrics").code == 3
    file = Path("metrics/loader_load.prom")
    assert [p.name for p in Path("metrics").iterdir()] == [file.name]
    assert file.stat().st_mode & 0o004, "the exporter is another user"
    found = read(file)
    rows = {kind: found["loader_rows", "", kind] for kind in ("read", "filtered", "rejected", "events")}
    assert rows == {"read": 21, "filtered": 0, "rejected": 1, "events": 20}
    for name in ("bloomreach", "batch"):
        events = {kind: value for (what, of, kind), value in found.items() if (what, of) == ("loader_events", name)}
        assert events == {"total": 20, "sent": 20, "already_delivered": 0, "rejected": 0, "in_doubt": 0, "pending": 0}
        assert found["loader_requests", name, ""] >= 1
    assert found["loader_exit_code", "", ""] == 3
    assert 0 < found["loader_run_seconds", "", ""] < time.time() - before
    success = found["loader_last_success_timestamp_seconds", "", ""]
    assert before <= success <= time.time()
    # What fails keeps the moment of the last success, and tells no numbers that it has not.
    Path("events.csv").unlink()
    assert project.loader("run", path, env={"LOADER_METRICS": "metrics"}).code == 2
    failed = read(file)
    assert failed["loader_last_success_timestamp_seconds", "", ""] == success
    assert failed["loader_last_run_timestamp_seconds", "", ""] > success
    assert failed["loader_exit_code", "", ""] == 2
    assert ("loader_rows", "", "read") not in failed
    simple(project, stand_in)
    assert project.loader("run", path, "--metrics", "metrics").code == 0
    assert read(file)["loader_last_success_timestamp_seconds", "", ""] > success


def test_runs_that_were_finished_first_are_counted(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, stand_in)
    assert project.run("--stop-after", "5", "--metrics", ".").code == 3
    found = read(Path("loader_load.prom"))
    assert found["loader_events", "bloomreach", "pending"] == 15
    source = {"type": "csv", "path": "*.csv"}
    destinations = (credentials(n, stand_in.url) for n in ("bloomreach", "batch"))
    project.mapping(simple_mapping(*destinations, source=source))
    project.csv(numbered(7), "more.csv")
    assert project.loader("run", path, "--metrics", ".").code == 3
    found = read(Path("loader_load.prom"))
    assert [found["loader_events", "batch", kind] for kind in ("total", "sent", "pending")] == [27, 27, 0]


def test_a_folder_that_is_not_there_changes_nothing(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, stand_in)
    ended = project.loader("run", path, "--metrics", "nowhere")
    assert ended.code == 3
    assert ended.err.splitlines()[-1] == "loader: metrics cannot be written to nowhere: No such file or directory"
    Path("loader_load.prom").write_bytes(b"\xff no metrics {")
    assert project.loader("run", path, "--metrics", ".").code == 0
    assert read(Path("loader_load.prom"))["loader_exit_code", "", ""] == 0


def test_without_the_extra(project: QuickProject, stand_in: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    path = simple(project, stand_in)
    for name in ("prometheus_client", "opentelemetry.sdk.metrics"):
        monkeypatch.setitem(sys.modules, name, None)
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    ended = project.loader("run", path, "--metrics", ".", env=env)
    assert ended.code == 3
    assert "loader: --metrics needs `pip install 'event-batch-loader[metrics]'`; no metrics are written\n" in ended.err
    assert "OpenTelemetry" not in ended.err


def otlp(hook: Wire) -> tuple[dict[str, str], dict[tuple[str, str, str], float]]:
    """The resource, and name, destination and kind → value, of the one message that a collector got."""
    head, body = hook.heads[-1].decode().lower(), hook.bodies[-1]
    assert "content-type: application/x-protobuf" in head
    message = ExportMetricsServiceRequest.FromString(body)
    (resource,) = message.resource_metrics
    found = {}
    for scope in resource.scope_metrics:
        for metric in scope.metrics:
            for point in metric.gauge.data_points:
                labels = {one.key: one.value.string_value for one in point.attributes}
                assert labels["mapping"] == "load"
                value = point.as_double if point.HasField("as_double") else point.as_int
                found[metric.name, labels.get("destination", ""), labels.get("kind", "")] = value
    return {one.key: one.value.string_value for one in resource.resource.attributes}, found


def test_opentelemetry(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, stand_in)
    with Wire(lambda _: (200, b"")) as hook:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": hook.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-key=planted"}
        ended = project.process("run", path, env=env)
        assert (ended.code, ended.err) == (3, "")
        assert hook.heads[-1].startswith(b"POST /v1/metrics ")
        assert b"x-key: planted" in hook.heads[-1].lower()
        resource, found = otlp(hook)
        assert resource["service.name"] == "loader"
        assert found["loader.events", "bloomreach", "sent"] == 20
        assert found["loader.rows", "", "rejected"] == 1
        assert found["loader.exit_code", "", ""] == 3
        names = {"OTEL_SERVICE_NAME": "etl", "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=one"}
        assert project.loader("run", path, env={**env, **names}).code == 0
        resource, found = otlp(hook)
        assert (resource["service.name"], resource["service.instance.id"]) == ("etl", "one")
        assert len(hook.bodies) == 2


def test_an_endpoint_that_refuses_changes_nothing(project: QuickProject, stand_in: RunningSandbox) -> None:
    path = simple(project, stand_in)
    with Wire(lambda _: (401, b"")) as hook:
        ended = project.process("run", path, env={"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{hook.url}/in"})
    assert ended.code == 3
    assert ended.err == "loader: the metrics were not taken by the OpenTelemetry endpoint\n"
