"""`python -m tests.attack kills [--count 500] [--seed 1]`: see README.md here."""

from __future__ import annotations

import argparse
import time

from tests.attack.dying import POINTS
from tests.attack.kills import kill
from tests.support.routes import WAYS
from tests.support.sandbox import sandbox


def kills(count: int, seed: int) -> None:
    """Kill over all routes; print what was done."""
    began = time.monotonic()
    with sandbox("--appizer-unlimited") as stand_in:
        tally = kill(WAYS, seed, count, stand_in, lambda line: print(line, flush=True))
    print(f"{tally.kills.total()} kills in {tally.rounds} rounds, {time.monotonic() - began:.0f} s")
    for point, times in tally.kills.most_common():
        print(f"{times:>5}  {point}")
    print(f"exit codes of commands that ended: {dict(sorted(tally.ended.items()))}")
    print(f"events sent twice, all of chunks in doubt: {tally.doubled}")
    missed = POINTS.keys() - tally.kills.keys()
    if missed:
        print(f"nobody was killed at: {', '.join(sorted(missed))}")


def main() -> None:
    """One of the attacks in its long form."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description="Long attacks on the loader.")
    attacks = parser.add_subparsers(required=True)
    killing = attacks.add_parser("kills", help="kill a load again and again")
    killing.add_argument("--count", type=int, default=500)
    killing.add_argument("--seed", type=int, default=1)
    killing.set_defaults(attack=kills)
    options = vars(parser.parse_args())
    options.pop("attack")(**options)


if __name__ == "__main__":
    main()
