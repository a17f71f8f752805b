"""What the attacks by data share: texts and names made to do harm, and `loader run` with its highest use of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from tests.support.project import ENVIRONMENT, Ended, Project, credentials
from tests.support.sandbox import RunningSandbox

# Nothing may use more, however large or twisted its input is.
MEMORY_MB = 600

TEXTS = [
    "'\"\\/\b\f\n\r\t",
    "\0",
    "a\0b",
    "\x01\x1f\x7f\x80\x9f",
    "😀👩‍👩‍👧‍👦🇫🇷",
    "\u2028\u2029\x85",
    "\ufeffmark\ufeff",
    "\u202eright to left\u200f\u2066",
    "e\u0301 is not é",
    "\ufffe\uffff\U0010ffff",
    "=cmd|'/c calc'!A1",
    "+1+1",
    "-1",
    "@SUM(A1:A9)",
    "\t=1",
    "null",
    "NaN",
    "None",
    '{"a":null}',
    ',"text":null',
    '":null',
    "  blanks  ",
    "%s {value} ${HOME} {0} %(x)s",
    "x" * 15_000,
    "\r",
    "\n",
    "\r\n",
    ";,|\t",
    "'; DROP TABLE events; --",
    "\\u0000 \\ud800 \\n",
]

# Names that loader, polars, SQL, JSON or YAML could take for something else.
NAMES = [
    *("row", "user", "event", "chunk", "time", "name", "id", "number", "field", "reason", "value", "message", "record"),
    *("literal", "x", "index", "len", "count", "piece", "body", "part", "broken0", "events", "users", "destination"),
    *("_value", "_row", "_extra", "_raw", "_destination", "record_kept", "properties.x", "ids.x", "0", "1", "-1"),
    *(
        "select",
        "order",
        "from",
        "null",
        "true",
        "now",
        "current_date",
        "NOW()",
        "date(a)",
        "case",
        "SELECT 1",
        "schema",
    ),
    *(
        "a.b",
        'q"q',
        "it's",
        "`",
        "back\\slash",
        "a b",
        "new\nline",
        "tab\tbed",
        "a,b",
        "a;b",
        "--",
        "/*",
        "a=b",
        "$",
        "%",
    ),
    *("{", "}", "[", "]", "{}", "^", "$a^", "**", "a*", "^a", "a$", "&x", "!x", "?", "@x", "#x", "<<", "~", "|", ">"),
    *(
        "é",
        "e\u0301",
        "日本",
        "😀",
        "\u202ex",
        "x\ufeffy",
        "n" * 300,
        "\0value",
        "\0position",
        "__index",
        "Row",
        "USER",
    ),
]
# Names that no column can have here, each with a word of what is said about it.
IMPOSSIBLE = {"": "without a name", "*": "stands for", "^a$": "stands for", "^.*$": "stands for", "__row": "numbers"}


@dataclass(frozen=True)
class Measured(Ended):
    """A command that ended. `peak_mb`: the most memory that it had at once."""

    peak_mb: int


_LAUNCH = """
import os, re, sys
from pathlib import Path
from loader.cli import main
try:
    main(prog_name="loader")
finally:
    status = Path("/proc/self/status").read_text()
    Path(os.environ["PEAK"]).write_text(re.search(r"VmHWM:\\s+(\\d+)", status)[1])
"""


def run(project: Project, *arguments: str, timeout: float = 120) -> Measured:
    """`loader run` of the project's mapping as JSON; a traceback, a panic, a hang or much memory fails the test."""
    peak = project.folder / "peak"
    # A child is charged with its parent's memory until it is another program; its own status is not.
    process = subprocess.run(
        [sys.executable, "-c", _LAUNCH, "run", str(project.mapping_path), "--json", *arguments],
        cwd=project.folder,
        env={**ENVIRONMENT, "PEAK": str(peak), "RUST_BACKTRACE": "0"},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
    )
    out, err = process.stdout.decode(), process.stderr.decode()
    assert "Traceback" not in err, err
    assert "panicked" not in err, err
    found = Measured(process.returncode, out, err, int(peak.read_text()) // 1024)
    assert found.code in (0, 2, 3), err
    assert found.peak_mb <= MEMORY_MB
    return found


def mapping(stand_in: RunningSandbox, source: dict[str, Any], properties: Any = "*", **more: Any) -> dict[str, Any]:
    """All columns as properties of an event of one user, sent to Bloomreach."""
    event = {"user": {"const": "u"}, "name": {"const": "e"}, "properties": properties}
    destinations = [credentials("bloomreach", stand_in.url)]
    return {"source": source, "event": event, "destinations": destinations, **more}


def delivered(stand_in: RunningSandbox) -> list[dict[str, Any]]:
    """The properties that arrived, in the order of the rows; numbers with a point as Decimal."""
    received = stand_in.received_exactly("bloomreach")
    rows = [(int(event["command"]["command_id"]), event["command"]["data"]["properties"]) for event in received]
    return [properties for _, properties in sorted(rows, key=lambda row: row[0])]


def refusal(ended: Ended) -> str:
    """What was said where nothing was sent: few lines, for a person."""
    assert ended.code == 2, ended.err
    assert 0 < len(ended.err.splitlines()) <= 3, ended.err
    assert os.linesep not in ended.out.strip()
    return ended.err
