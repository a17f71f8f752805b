"""Help is quick, complete and says which exit codes a command has."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from loader.cli import COMMANDS, main
from loader.providers import PROVIDERS
from tests.support.project import ENVIRONMENT

WITH_EXITS = [name for name in COMMANDS if name not in ("providers", "schema")]


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, arguments, prog_name="loader")
    return result.exit_code, result.stdout, result.stderr


def test_help_lists_every_command_without_importing_what_commands_need() -> None:
    script = (
        "import sys\nfrom loader.cli import main\nmain(['--help'], standalone_mode=False)\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'polars', 'sqlalchemy', 'httpx', 'pydantic', 'tqdm'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    listed, modules = done.stdout.rsplit("\n", 2)[:2]
    assert modules == "[]"
    for name, words in COMMANDS.items():
        assert f"  {name} " in listed
        assert words in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_begins_with_the_words_of_the_list(name: str) -> None:
    code, out, _ = invoke(name, "--help")
    assert code == 0
    assert out.startswith(f"Usage: loader {name}")
    assert " ".join(out.split("\n\n")[1].split()) == COMMANDS[name]


@pytest.mark.parametrize("name", WITH_EXITS)
def test_the_help_of_a_command_lists_its_exit_codes(name: str) -> None:
    assert "Exit codes:\n    0  " in invoke(name, "--help")[1]


def test_run_documents_every_exit_code() -> None:
    out = invoke("run", "--help")[1]
    assert [line.split()[0] for line in out.split("Exit codes:\n")[1].splitlines()] == [*"02345678", "130,"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], "did you mean 'run'?"),
        (["xyzzy"], "there is no command 'xyzzy'\n"),
        (["run"], "Missing argument 'MAPPING'"),
        (["run", "--frobnicate", "x.yaml"], "No such option"),
        (["run", "x.yaml"], "loader: x.yaml does not exist\n"),
        (["status", "/"], "loader: / is a folder, not a mapping file\n"),
    ],
)
def test_a_wrong_command_line_ends_with_2(arguments: list[str], words: str) -> None:
    code, out, err = invoke(*arguments)
    assert (code, out) == (2, "")
    assert words in err


def test_providers_shows_every_setting_field_and_limit() -> None:
    code, out, _ = invoke("providers")
    assert code == 0
    shown = json.loads(invoke("providers", "--json")[1])["providers"]
    assert [provider["name"] for provider in shown] == list(PROVIDERS)
    for provider in shown:
        assert f"`user` is sent as {provider['user']}\n" in f"{out}\n"
        settings = PROVIDERS[provider["name"]].settings.model_fields
        assert {setting["name"] for setting in provider["settings"]} == set(settings)
        assert all(setting["description"] for setting in provider["settings"])
        for setting in provider["settings"]:
            assert f"{setting['name']} " in out
        for limit in provider["routes"][0]["limits"]:
            assert {"what", "value", "unit", "page", "read"} == set(limit)
            assert limit["page"] in out
            assert f"{limit['value']:,} {limit['unit']}" in out
    assert "  label  text  A label of at most 200 characters." in out
    assert "  * rest_api_key " in out
    assert out.count("  no field for the time of an event\n") == 2
    assert out.count("  takes `event:` and `customer:`\n") == 2
    assert out.count("  at most 1 user per call\n") == 1
    assert "route batch (default)\n  takes `event:` and `customer:`\n" in out
    takes = {provider["name"]: provider["routes"][0]["takes"] for provider in shown}
    assert (takes["batch"], takes["bloomreach"]) == (["event"], ["event", "customer"])


def test_schema_is_a_json_schema_of_mappings() -> None:
    code, out, _ = invoke("schema")
    assert code == 0
    assert set(json.loads(out)["properties"]) >= {"source", "event", "destinations"}
