"""`loader doctor`."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path

import click

from loader.cli.options import exits, json_option, mapping_argument, state_option
from loader.cli.output import show, show_json
from loader.examining import Finding, examine, exit_code, ok, warning
from loader.notifying import listener
from loader.report.words import command as command_words
from loader.report.words import plural

EXITS = exits(
    "0  a run can begin; there may be warnings",
    "2  the mapping, the credentials, the source, the state or the disk is wrong",
    "5  a provider cannot be reached",
    "8  another process holds this mapping's state",
)


@click.command("doctor", epilog=EXITS)
@mapping_argument()
@state_option
@json_option
def command(mapping: Path, state: Path | None, as_json: bool) -> None:
    """Look for what would stop a run.

    Checks the mapping, that credentials are there, the beginning of the source, the state folder, disk space, and that
    each provider answers. No event and no credentials are sent, and nothing is kept.
    """
    findings = []
    for finding in chain(examine(mapping, state), [_notices()]):
        findings.append(finding)
        if not as_json:
            show(_line(finding))
    code = exit_code(findings)
    counts = {status: sum(f.status == status for f in findings) for status in ("problem", "warning")}
    if as_json:
        checks = [{"check": f.check, "status": f.status, "message": f.message} for f in findings]
        show_json({"mapping": mapping.stem, "ok": not counts["problem"], "exit": int(code), "checks": checks})
    else:
        found = " and ".join(plural(count, status) for status, count in counts.items() if count)
        step = "" if counts["problem"] else "; to load what is new:\n" + command_words("run", mapping, state=state)
        show(f"\n{found or 'all is well'}{step}")
    click.get_current_context().exit(code)


def _notices() -> Finding:
    host = listener(os.environ)
    if host is None:
        return ok("notices", "nobody is told how a load ends: LOADER_NOTIFY_URL is not set")
    if not host:
        return warning("notices", "LOADER_NOTIFY_URL is no http(s) address; nobody is told how a load ends")
    return ok("notices", f"{host} is told when a load ends in another way than before (it has not been asked)")


def _line(finding: Finding) -> str:
    first, *more = finding.message.splitlines()
    return "\n".join([f"{finding.status:<7}  {finding.check:<11}  {first}", *(f"{'':22}{line}" for line in more)])
