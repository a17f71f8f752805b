"""`loader sandbox`."""

from __future__ import annotations

import click

from loader.cli.interrupts import Terminated
from loader.cli.options import exits
from loader.cli.output import show
from loader.cli.standin import stand_in
from loader.errors import UsageError
from loader.sandbox.credentials import CREDENTIALS
from loader.sandbox.faults import KINDS

_KINDS = "\b\nFaults:\n" + "\n".join(f"  {kind:<14}{what}" for kind, what in KINDS.items())
_SELECTED = (
    "A fault hits the requests that p=0.2 (seed=1), first=3, at=1,4,9 and provider=batch select; none: every request."
)
# What stands in a destination only instead of something else.
_NOTES = {
    ("appizer", "api_key_2"): "    # a second account: api_key: {value}",
    ("batch", "api_key_2"): "    # a second app: api_key: {value}",
    ("bloomreach", "api_token"): "    # public access, instead of api_key_id and api_secret: {key}: {value}",
}
_EXITS = exits("0  told to stop", "2  it could not start")


@click.command("sandbox", epilog=f"{_KINDS}\n\n{_SELECTED}\n\n{_EXITS}")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8321, show_default=True, help="0 takes a free one.")
@click.option("--fault", "faults", multiple=True, metavar="SPEC", help="KIND:key=value:..., e.g. 429:first=3.")
@click.option(
    "--clock", metavar="ISO8601", help="The sandbox's time; it stands still there until POST /_sandbox/clock moves it."
)
@click.option(
    "--batch-time", type=click.Choice(["strict", "any"]), default="strict", show_default=True,
    help="Batch: take times of the last 24 hours only, or any.",
)  # fmt: skip
@click.option("--batch-strict-429", is_flag=True, help="Batch: 429 until left alone for 5 seconds.")
@click.option("--appizer-unlimited", is_flag=True, help="Appizer: take more than 100 requests a minute.")
@click.option(
    "--bloomreach-errors", type=click.Choice(["documented", "text", "list", "object"]), default="documented",
    show_default=True, help="Bloomreach: the form of `errors` in results.",
)  # fmt: skip
@click.option("--bloomreach-empty-properties", is_flag=True, help="Bloomreach: take events without properties.")
@click.option("--shuffle-results", is_flag=True, help="Bloomreach: results in another order.")
def command(
    *,
    host: str,
    port: int,
    faults: tuple[str, ...],
    clock: str | None,
    batch_time: str,
    batch_strict_429: bool,
    appizer_unlimited: bool,
    bloomreach_errors: str,
    bloomreach_empty_properties: bool,
    shuffle_results: bool,
) -> None:
    """Serve the stand-in of all providers.

    Prints its address and the credentials that it takes, then serves until Ctrl-C.
    """
    arguments = [f"--host={host}", f"--port={port}", f"--batch-time={batch_time}"]
    arguments.append(f"--bloomreach-errors={bloomreach_errors}")
    arguments += [f"--fault={fault}" for fault in faults]
    arguments += [f"--clock={clock}"] if clock is not None else []
    switches = {
        "--batch-strict-429": batch_strict_429,
        "--appizer-unlimited": appizer_unlimited,
        "--bloomreach-empty-properties": bloomreach_empty_properties,
        "--shuffle-results": shuffle_results,
    }
    arguments += [switch for switch, on in switches.items() if on]
    try:
        with stand_in(*arguments) as server:
            show(_welcome(server.url))
            server.process.wait()
    except (KeyboardInterrupt, Terminated):
        return
    raise UsageError("the sandbox has ended by itself")


def _welcome(url: str) -> str:
    lines = [f"the sandbox listens at {url}; Ctrl-C ends it. Destinations that lead there:", ""]
    for provider, values in CREDENTIALS.items():
        lines += [f"  - provider: {provider}", f"    base_url: {url}"]
        for key, value in values.items():
            lines.append(_NOTES.get((provider, key), "    {key}: {value}").format(key=key, value=value))
    return "\n".join(lines)
