"""The examples for schedulers: their commands run as they stand in the files, on a copy of the machine they suppose."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

import loader
from loader.cli import COMMANDS
from tests.support.project import ROOT, credentials
from tests.support.sandbox import RunningSandbox

EXAMPLES = ROOT / "mappings" / "examples"
NAME = "orders_to_bloomreach"


@dataclass(frozen=True)
class Machine:
    """What the examples suppose, in a temporary folder: the loader, a mapping with data, credentials, no state yet."""

    root: Path

    def text(self, name: str) -> str:
        """An example with the paths of this machine."""
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        return re.sub(r"(?<![\w.])/(srv/loader|etc/loader|var/lib/loader)\b", rf"{self.root}/\1", text)

    def shell(self, command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A command as cron runs it: by sh, with next to no environment."""
        few, where = {"PATH": "/usr/bin:/bin", **env}, self.root / "srv/loader"
        return subprocess.run(["sh", "-c", command], env=few, cwd=where, capture_output=True, text=True)

    @property
    def environment(self) -> dict[str, str]:
        """The credentials."""
        lines = (self.root / "etc/loader/environment").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def state(self) -> Path:
        return self.root / "var/lib/loader"


@pytest.fixture
def machine(tmp_path: Path, stand_in: RunningSandbox) -> Machine:
    """The machine; `environment` leads to the stand-in."""
    binary = tmp_path / "srv/loader/.venv/bin/loader"
    mappings = tmp_path / "srv/loader/mappings"
    for folder in (binary.parent, mappings, tmp_path / "srv/loader/sample_data", tmp_path / "etc/loader"):
        folder.mkdir(parents=True)
    source = Path(loader.__file__).parents[1]
    binary.write_text(f'#!/bin/sh\nPYTHONPATH="{source}" exec "{sys.executable}" -m loader "$@"\n')
    binary.chmod(0o755)
    keys = credentials("bloomreach", stand_in.url)
    text = (ROOT / "mappings" / f"{NAME}.yaml").read_text(encoding="utf-8")
    with_address = text.replace(
        "  - provider: bloomreach\n", f"  - provider: bloomreach\n    base_url: {stand_in.url}\n"
    )
    (mappings / f"{NAME}.yaml").write_text(with_address)
    rows = (ROOT / "sample_data/orders.csv").read_text(encoding="utf-8").splitlines()
    # One row is rejected, so that the load ends with exit 3: it has a cell too many.
    (tmp_path / "srv/loader/sample_data/orders.csv").write_text("\n".join([*rows, f"{rows[-1]},more", ""]))
    variables = {
        name: keys[name.removeprefix("BLOOMREACH_").lower()] for name in re.findall(r"\$\{(BLOOMREACH_\w+)\}", text)
    }
    lines = "".join(f"{name}={value}\n" for name, value in variables.items())
    (tmp_path / "etc/loader/environment").write_text(lines)
    return Machine(tmp_path)


def test_the_crontab(machine: Machine, stand_in: RunningSandbox) -> None:
    lines = [line for line in machine.text("crontab").splitlines() if line and not line.startswith("#")]
    variables = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    jobs = [line for line in lines if not re.match(r"[A-Z_]+=", line)]
    assert set(variables) <= {"MAILTO", "LOADER_STATE", "LOADER_LOG"}
    commands = []
    for job in jobs:
        *times, command = job.split(None, 5)
        limits = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
        for field, (lowest, highest) in zip(times, limits, strict=True):
            assert field == "*" or lowest <= int(field) <= highest
        assert not re.search(r"(?<!\\)%", command), "cron ends the command at a bare %"
        commands.append(command.replace("\\%", "%"))
    load, prune = commands
    ended = machine.shell(load, **variables)
    assert (ended.returncode, ended.stdout) == (3, ""), ended.stderr
    assert len(stand_in.received()) > 900
    assert (machine.state / NAME / "checkpoint.db").exists()
    pruned = machine.shell(prune, **variables)
    assert (pruned.returncode, pruned.stdout) == (0, "nothing to prune: no finished run is older than 90d\n")


def units(machine: Machine) -> dict[str, configparser.ConfigParser]:
    found = {}
    for kind in ("service", "timer"):
        parser = configparser.ConfigParser(strict=True, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(machine.text(f"loader@.{kind}").replace("%i", NAME))
        found[kind] = parser
    return found


def test_the_units_of_systemd(machine: Machine, stand_in: RunningSandbox) -> None:
    both = units(machine)
    service = both["service"]["Service"]
    timer = both["timer"]
    assert re.fullmatch(r"\*-\*-\* \d\d:\d\d", timer["Timer"]["OnCalendar"])
    assert timer["Install"]["WantedBy"] == "timers.target"
    environment = dict(part.split("=", 1) for part in shlex.split(service["Environment"]))
    assert service["EnvironmentFile"] == str(machine.root / "etc/loader/environment")
    environment |= machine.environment
    ended = machine.shell(service["ExecStart"], **environment)
    good = {0, *map(int, service["SuccessExitStatus"].split())}
    assert ended.returncode in good, ended.stderr
    assert len(stand_in.received()) > 900
    # Of the documented exits only an outage, and a signal, start it again.
    never = good | set(map(int, service["RestartPreventExitStatus"].split()))
    assert {0, 1, 2, 3, 4, 5, 6, 7, 8} - never == {5}


def test_systemd_itself_finds_nothing_wrong(machine: Machine) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: the units were only read")
    paths = []
    for kind in ("service", "timer"):
        paths.append(machine.root / f"loader@{NAME}.{kind}")
        paths[-1].write_text(machine.text(f"loader@.{kind}"))
    done = subprocess.run([analyze, "verify", "--recursive-errors=no", *paths], capture_output=True, text=True)
    own = [line for line in done.stderr.splitlines() if "loader@" in line]
    assert (done.returncode, own) == (0, []), done.stderr
    paths[0].write_text(paths[0].read_text().replace("Type=oneshot", "Type=onceshot"))
    wrong = subprocess.run([analyze, "verify", "--recursive-errors=no", paths[0]], capture_output=True, text=True)
    assert "onceshot" in wrong.stderr


def constants(text: str) -> list[str]:
    """The commands among the constants of a Python file."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "loader run " in node.value:
            found.append(node.value)
        if isinstance(node, ast.List) and all(isinstance(item, ast.Constant) for item in node.elts):
            found.append(shlex.join(ast.literal_eval(node)))
    return found


@pytest.mark.parametrize(("file", "code"), [("airflow_dag.py", 0), ("dagster_asset.py", 3)])
def test_the_commands_of_the_python_files(machine: Machine, stand_in: RunningSandbox, file: str, code: int) -> None:
    (command,) = constants(machine.text(file))
    environment = dict(
        line.split("=", 1) for line in (machine.root / "etc/loader/environment").read_text().splitlines()
    )
    ended = machine.shell(command, LOADER_STATE=str(machine.state), **environment)
    assert ended.returncode == code, ended.stderr
    assert ended.stdout.startswith('{"run": "')
    assert len(stand_in.received()) > 900


AIRFLOW = """
import runpy, sys
dag = runpy.run_path(sys.argv[1])["dag"]
assert (dag.dag_id, dag.catchup, dag.max_active_runs) == ("orders_to_bloomreach", False, 1)
(task,) = dag.tasks
task.execute({"ti": None})
"""
DAGSTER = """
import runpy, sys
import dagster as dg
found = runpy.run_path(sys.argv[1])
result = dg.materialize([found["orders_to_bloomreach"]])
(made,) = result.asset_materializations_for_node("orders_to_bloomreach")
assert made.metadata["run"].data["status"] == "done"
assert found["defs"].resolve_schedule_def("nightly").cron_schedule == "15 2 * * *"
"""


@pytest.mark.parametrize(
    ("variable", "file", "script"),
    [("LOADER_TEST_AIRFLOW", "airflow_dag.py", AIRFLOW), ("LOADER_TEST_DAGSTER", "dagster_asset.py", DAGSTER)],
)
def test_the_orchestrators_themselves(
    machine: Machine, stand_in: RunningSandbox, variable: str, file: str, script: str
) -> None:
    python = os.environ.get(variable)
    if python is None:
        pytest.skip(f"{variable} names no Python: {file} was not loaded by the orchestrator, only its command was run")
    (machine.root / file).write_text(machine.text(file))
    environment = {**os.environ, **machine.environment, "AIRFLOW_HOME": str(machine.root)}
    environment |= {"LOADER_STATE": str(machine.state), "DAGSTER_HOME": str(machine.root)}
    del environment["PYTHONPATH"]
    done = subprocess.run([python, "-c", script, machine.root / file], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(stand_in.received()) > 900


def test_the_container_file(machine: Machine) -> None:
    text = (EXAMPLES / "Containerfile").read_text(encoding="utf-8")
    steps = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [name for name, _ in steps]
    assert names[0] == "FROM"
    assert names.index("USER") > max(at for at, name in enumerate(names) if name == "RUN"), "root installs, not runs"
    for name, rest in steps:
        words = rest.split()
        if name == "FROM":
            version = re.fullmatch(r"python:3\.(\d+)-slim", words[0])
            assert version is not None
            assert int(version[1]) >= int(project["requires-python"].removeprefix(">=3."))
        elif name == "COPY":
            assert all((ROOT / source).exists() for source in words[:-1])
        elif name == "RUN" and words[0] == "pip":
            extras = re.search(r"\[(.+)\]", rest)
            assert extras is not None
            assert set(extras[1].split(",")) <= set(project["optional-dependencies"])
            assert (ROOT / project["readme"]).name in text
        elif name == "ENV":
            assert {word.split("=")[0] for word in words} == {"LOADER_STATE", "LOADER_LOG"}
        elif name == "ENTRYPOINT":
            assert ast.literal_eval(rest)[0] in project["scripts"]


def test_every_file_is_described_and_every_command_exists() -> None:
    described = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file() and path.name != "README.md"}
    assert files == {
        "crontab",
        "loader@.service",
        "loader@.timer",
        "airflow_dag.py",
        "dagster_asset.py",
        "Containerfile",
    }
    for name in files:
        assert f"`{name}`" in described
        for command in re.findall(r"bin/loader (\w+)", (EXAMPLES / name).read_text(encoding="utf-8")):
            assert command in COMMANDS
