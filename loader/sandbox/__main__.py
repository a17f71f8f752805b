"""`python -m loader.sandbox`: the sandbox as a process of its own."""

from __future__ import annotations

import argparse
import sys

from loader.sandbox.faults import KINDS
from loader.sandbox.server import serve


def main() -> int:
    """In: the command line. Out: the exit code: 0 when told to stop, 2 when it could not start."""
    kinds = "\n".join(f"  {kind:<14}{what}" for kind, what in KINDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m loader.sandbox",
        description="A local HTTP server that stands in for the providers.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"faults:\n{kinds}\n\n"
        "selected by p=0.2 (seed=1), first=3, at=1,4,9, provider=batch; by none of them: every request",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--parent-pid-watch", action="store_true", help="stop when standard input ends")
    parser.add_argument("--fault", action="append", default=[], dest="faults", metavar="KIND:key=value:...")
    parser.add_argument("--clock", metavar="ISO8601", help="the sandbox's time, where it stands still")
    parser.add_argument("--batch-time", choices=["strict", "any"], default="strict", help="any: without the 24 hours")
    parser.add_argument("--batch-strict-429", action="store_true", help="429 until left alone for 5 seconds")
    parser.add_argument("--appizer-unlimited", action="store_true", help="without the 100 requests a minute")
    parser.add_argument(
        "--bloomreach-errors", choices=["documented", "text", "list", "object"], default="documented",
        help="the form of `errors` in results; documented: text for a single route, a list in the batch",
    )  # fmt: skip
    parser.add_argument(
        "--bloomreach-empty-properties", action="store_true", help="accept events and updates without properties"
    )
    parser.add_argument("--shuffle-results", action="store_true", help="Bloomreach: results in another order")
    try:
        serve(**vars(parser.parse_args()))
    except (ValueError, OSError) as problem:
        sys.stderr.write(f"{parser.prog}: {problem}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
