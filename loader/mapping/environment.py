"""`${NAME}` and `${NAME:-default}` in the texts of a mapping file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAME = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\}|\$\{")


@dataclass(frozen=True)
class Expanded:
    """`text`: the result. `missing`: variables without value and default. `broken`: a `${` that is not a variable."""

    text: str
    missing: tuple[str, ...] = ()
    broken: bool = False


def expand(text: str, env: Mapping[str, str]) -> Expanded:
    """Replace the variables of `text` by their values in `env`.

    The default stands in where a variable is not set or empty. `$${` writes `${`; any other `$` is itself. Values
    are not looked into again.
    """
    missing: list[str] = []
    broken = False

    def replace(match: re.Match[str]) -> str:
        nonlocal broken
        if match[0] == "$${":
            return "${"
        name, default = match[1], match[2]
        if name is None:
            broken = True
            return match[0]
        value = env.get(name)
        if default is not None and not value:
            return default[2:]
        if value is None:
            missing.append(name)
            return ""
        return value

    return Expanded(_NAME.sub(replace, text), tuple(missing), broken)


def missing_message(name: str, env: Mapping[str, str]) -> str:
    """What to say about a variable that is not set: the nearest one with the same first word, never a value."""
    prefix = name.split("_", maxsplit=1)[0] + "_"
    near = difflib.get_close_matches(name, [other for other in env if other.startswith(prefix)], 1, 0.7)
    hint = f"; did you mean ${{{near[0]}}}?" if near else f"; set it, or give a default with ${{{name}:-…}}"
    return f"the environment variable {name} is not set{hint}"
