"""Loads from a cloud: what is known is not fetched again, what is refused is shown when it is gone there."""

from __future__ import annotations

import csv
import io
import re
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.project import ENVIRONMENT, Ended, Project, arrived, credentials, numbered, simple_mapping
from tests.support.s3 import S3, Relay
from tests.support.sandbox import RunningSandbox


@pytest.fixture
def bucket(s3: S3, near: Relay, request: pytest.FixtureRequest) -> str:
    """A bucket of the test's own."""
    name = re.sub("[^a-z0-9]+", "-", str(request.node.name))[:60].strip("-")
    s3.put(name)
    return name


def text(numbers: range) -> bytes:
    file = io.StringIO(newline="")
    rows = numbered(numbers.stop - 1)
    csv.writer(file).writerows([rows[0], *rows[numbers.start :]])
    return file.getvalue().encode()


def load(project: Project, near: Relay) -> Ended:
    return project.run(env=near.environment)


def mapping(project: Project, stand_in: RunningSandbox, path: str, **source: Any) -> str:
    document = simple_mapping({**credentials("bloomreach", stand_in.url), "chunk": 20})
    document["source"] = {"type": "csv", "path": path, **source}
    return str(project.mapping(document))


def test_a_glob_night_after_night(s3: S3, near: Relay, bucket: str, project: Project, stand_in: RunningSandbox) -> None:
    path = mapping(project, stand_in, f"s3://{bucket}/in/*.csv")
    s3.put_all(bucket, {"in/1.csv": text(range(1, 31)), "in/2.csv": text(range(31, 61))})
    assert load(project, near).json["status"] == "done"
    assert not list((project.folder / ".loader").rglob("_copies")), "nothing is left of what was fetched"
    assert not list((project.folder / ".loader").rglob("_rows"))
    fetched = len(near.gets(bucket))
    assert load(project, near).json["status"] == "nothing_new"
    assert not list((project.folder / ".loader" / "load" / "runs").glob("*/_copies"))
    s3.put_all(bucket, {"in/3.csv": text(range(61, 91)), "in/4.csv": text(range(1, 31))})
    ended = load(project, near)
    assert (ended.code, ended.destination()["sent"]) == (0, 30)
    assert f"s3://{bucket}/in/4.csv was loaded as s3://{bucket}/in/1.csv by run " in ended.err
    assert len(near.gets(bucket)) == fetched + 2, "only what is new is fetched"
    assert sorted(arrived(stand_in.received())) == list(range(1, 91))
    s3.put_all(bucket, {"in/3.csv": text(range(61, 92))})
    ended = load(project, near)
    assert (ended.code, "has changed since" in ended.err) == (2, True)
    files = project.loader("status", path).out
    assert f"s3://{bucket}/in/3.csv" in files


def test_refused_rows_are_shown_when_the_object_is_gone(
    s3: S3, near: Relay, bucket: str, project: Project, stand_in: RunningSandbox
) -> None:
    path = mapping(project, stand_in, f"s3://{bucket}/*.csv")
    s3.put_all(bucket, {"1.csv": text(range(1, 41)), "2.csv": text(range(41, 81))})
    stand_in.faults([{"kind": "partial", "share": 0.3, "seed": 5}])
    assert load(project, near).code == 3
    stand_in.faults([])
    for key in ("1.csv", "2.csv"):
        s3.client().delete_object(Bucket=bucket, Key=key)
    # Without the cloud, too.
    ended = project.loader("rejects", path, "--output", "mended.csv")
    assert ended.code == 0, ended.err
    with (project.folder / "mended.csv").open(newline="") as file:
        mended = list(csv.reader(file))
    lacking = sorted(set(range(1, 81)) - set(arrived(stand_in.received())))
    assert mended == [numbered(0)[0], *([str(cell) for cell in numbered(80)[number]] for number in lacking)]
    assert any(number > 40 for number in lacking)


def test_a_broken_fetch_keeps_nothing(
    s3: S3, near: Relay, bucket: str, project: Project, stand_in: RunningSandbox
) -> None:
    path = mapping(project, stand_in, f"s3://{bucket}/*.csv")
    s3.put_all(bucket, {"1.csv": text(range(1, 41)), "2.csv": text(range(41, 81))})
    near.cuts, near.cut_after = 1000, 500
    ended = load(project, near)
    assert (ended.code, stand_in.received()) == (2, [])
    assert f"s3://{bucket}/1.csv cannot be read: " in ended.err
    assert "127.0.0.1" not in ended.err
    assert not list((project.folder / ".loader" / "load" / "runs").iterdir())
    near.cuts = 0
    assert load(project, near).destination()["sent"] == 80
    assert project.loader("check", path, env=near.environment).code == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_fetch_that_hangs_and_is_ended(
    s3: S3, near: Relay, bucket: str, project: Project, stand_in: RunningSandbox, how: signal.Signals
) -> None:
    path = mapping(project, stand_in, f"s3://{bucket}/x.csv")
    rows = numbered(40)
    wide = [[*rows[0], "pad"], *([*row, "x" * 300_000] for row in rows[1:])]
    project.csv(wide, "wide.csv")
    s3.put_all(bucket, {"x.csv": (project.folder / "wide.csv").read_bytes()})
    near.cuts, near.cut_after, near.stalls = 1000, 10_000_000, True
    runs = project.folder / ".loader" / "load" / "runs"
    with project.start("run", path, env=near.environment) as process:
        deadline = time.monotonic() + 60
        while not list(runs.glob("*/_copies/*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(how)
        process.communicate(timeout=10)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[how]
    left = list(runs.iterdir())
    assert len(left) == (how == signal.SIGKILL)
    near.cuts, near.stalls = 0, False
    assert load(project, near).destination()["sent"] == 40
    assert not set(left) & set(runs.iterdir()), "what was cut short is removed"
    assert not list(runs.glob("*/*/_copies"))


@pytest.mark.parametrize("scheme", ["s3", "https"])
def test_a_server_that_never_answers(near: Relay, project: Project, stand_in: RunningSandbox, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        path = mapping(project, stand_in, f"{scheme}://127.0.0.1:{port}/x.csv" if scheme == "https" else "s3://b/x.csv")
        environment = {**near.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        with project.start("run", path, env=environment) as process, silent.accept()[0]:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "interrupted; nothing was sent" in err


def test_looking_at_it(s3: S3, near: Relay, bucket: str, project: Project, stand_in: RunningSandbox) -> None:
    path = mapping(project, stand_in, f"s3://{bucket}/x.csv")
    s3.put_all(bucket, {"x.csv": text(range(1, 41))})
    assert "columns number, user, at" in project.loader("check", path, env=near.environment).out
    shown = project.loader("preview", path, "-n", "2", "--json", env=near.environment).json
    assert [row["source"]["number"] for row in shown["rows"]] == ["1", "2"]
    made = project.loader("init", f"s3://{bucket}/x.csv", "--provider", "batch", env=near.environment)
    assert made.code == 0, made.err
    written = YAML(typ="safe").load((project.folder / "x_to_batch.yaml").read_text())
    assert written["source"]["path"] == f"s3://{bucket}/x.csv"


@pytest.mark.parametrize("missing", ["obstore", "boto3"])
def test_without_the_packages(missing: str, project: Project, stand_in: RunningSandbox) -> None:
    path = mapping(project, stand_in, "s3://bucket/x.csv")
    code = f"import sys; sys.modules[{missing!r}] = None; from loader.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, "check", path], capture_output=True, text=True, env=ENVIRONMENT, timeout=60
    )
    assert ended.returncode == 2
    assert "pip install 'event-batch-loader[cloud]'" in ended.stderr
    assert "Traceback" not in ended.stderr
