"""`python -m tests.attack kills|power|load|soak`: see README.md here."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests.attack import load as attack_load
from tests.attack import soak as attack_soak
from tests.attack.dying import POINTS
from tests.attack.kills import kill
from tests.attack.power import STORIES, Outage
from tests.bench.race import workplace
from tests.support.routes import WAYS
from tests.support.sandbox import sandbox


def kills(count: int, seed: int) -> None:
    """Kill over all routes; print what was done."""
    began = time.monotonic()
    with sandbox("--appizer-unlimited") as stand_in:
        tally = kill(WAYS, seed, count, stand_in, _say)
    print(f"{tally.kills.total()} kills in {tally.rounds} rounds, {time.monotonic() - began:.0f} s")
    for point, times in tally.kills.most_common():
        print(f"{times:>5}  {point}")
    print(f"exit codes of commands that ended: {dict(sorted(tally.ended.items()))}")
    print(f"events sent twice, all of chunks in doubt: {tally.doubled}")
    missed = POINTS.keys() - tally.kills.keys()
    if missed:
        print(f"nobody was killed at: {', '.join(sorted(missed))}")


def power(cuts: int, seed: int) -> None:
    """Let the power fail at so many instants of each story."""
    chance = random.Random(seed)
    for name, story in STORIES.items():
        with sandbox() as stand_in, tempfile.TemporaryDirectory(prefix="power-") as folder:
            outage = Outage(Path(folder), stand_in, rows=240)
            log = outage.lived(story)
            for number in range(cuts):
                cut = chance.randint(0, len(log))
                outage.fail_at(log, cut, random.Random(cut) if number % 2 else None)
        _say(f"{name}: {cuts} outages among {len(log)} records")


def load(rows: int) -> None:
    """Load many events."""
    with workplace() as folder:
        measured = attack_load.load(folder, rows, _say)
    print(", ".join(f"{name} {value:,.0f}" for name, value in measured.items()))


def soak(minutes: float) -> None:
    """Deliver for a long time."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        for name, value in attack_soak.soak(Path(folder), minutes, _say).items():
            print(f"{name}: {value}")


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    """One of the attacks in its long form."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description="Long attacks on the loader.")
    attacks = parser.add_subparsers(required=True)
    killing = attacks.add_parser("kills", help="kill a load again and again")
    killing.add_argument("--count", type=int, default=500)
    killing.add_argument("--seed", type=int, default=1)
    killing.set_defaults(attack=kills)
    outage = attacks.add_parser("power", help="let the power fail")
    outage.add_argument("--cuts", type=int, default=150)
    outage.add_argument("--seed", type=int, default=1)
    outage.set_defaults(attack=power)
    loading = attacks.add_parser("load", help="load many events")
    loading.add_argument("--rows", type=int, default=10_000_000)
    loading.set_defaults(attack=load)
    soaking = attacks.add_parser("soak", help="deliver for a long time, at the providers' rates, with faults")
    soaking.add_argument("--minutes", type=float, default=20)
    soaking.set_defaults(attack=soak)
    options = vars(parser.parse_args())
    options.pop("attack")(**options)


if __name__ == "__main__":
    main()
