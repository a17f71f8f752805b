"""The provider of `loader/providers/README.md`, and distributions that bring a provider, as pip would install them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from loader.providers.base import Answer, Provider
from tests.providers.contracts import Contract, answer

README = Path(__file__).parents[2] / "loader" / "providers" / "README.md"


def block(language: str) -> str:
    """The one code block of a language in the README."""
    [text] = re.findall(rf"^```{language}\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return str(text)


def acme() -> Provider:
    """The README's provider, without a distribution."""
    module: dict[str, Any] = {"__name__": "acme_loader"}
    exec(compile(block("python"), str(README), "exec", dont_inherit=True), module)
    provider = module["ACME"]
    assert isinstance(provider, Provider)
    return provider


def _answer(rows: Sequence[int], refused: Collection[int] = ()) -> Answer:
    rejected = [{"index": at, "why": "no"} for at in refused]
    return answer(200, {"accepted": len(rows) - len(rejected), "rejected": rejected})


ACME_CONTRACT = Contract({"key": "acme-key"}, _answer, lambda _status: {"error": "in words"}, _answer)


def install(folder: Path, name: str, entry_points: str, **modules: str) -> None:
    """A distribution with modules (name=code) in `folder`, which is then to be on the path."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    for module, code in modules.items():
        (folder / f"{module}.py").write_text(code, "utf-8")


def readme_entry_points() -> str:
    """The README's entry points, as an installer writes them."""
    [(group, points)] = tomllib.loads(block("toml"))["project"]["entry-points"].items()
    return "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in points.items())])
