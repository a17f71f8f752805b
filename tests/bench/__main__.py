"""`python -m tests.bench`: the loader beside what people would use instead. See README.md here."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.bench.compare import compare, install_peers
from tests.bench.growth import growth
from tests.bench.peers import PEERS
from tests.bench.race import ROOT
from tests.bench.table import as_json, lines_of, lines_of_verdicts, machine
from tests.bench.works import WORKS


def main() -> None:
    """Do what the command line says."""
    options = _options()
    if options.what == "peers":
        install_peers(options.venv)
        return
    if options.what == "profile":
        # In a process of its own, like all that imports polars: a child's peak memory counts from its parent's.
        from tests.bench.profile import profile

        profile(options.rows)
        return
    outcomes = []
    if options.what == "growth":
        verdicts = list(growth(options.rows, _say))
    else:
        works = [work for work in WORKS if options.work is None or work.name in options.work]
        python = options.venv / "bin" / "python"
        for outcome in compare(works, options.rows, options.rounds, python, options.peers, _say):
            outcomes.append(outcome)
            if not options.json:
                print("\n".join(lines_of(outcome)), flush=True)
        verdicts = [verdict for outcome in outcomes for verdict in outcome.verdicts()]
    if options.json:
        print(json.dumps(as_json(outcomes, verdicts)))
    else:
        print("\n".join([*lines_of_verdicts(verdicts), "", machine()]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition(":")[2].strip())
    parser.add_argument(
        "what",
        nargs="?",
        default="race",
        choices=["race", "growth", "profile", "peers"],
        help="race: against the peers (default); growth: ten times the rows, resuming, nothing new; "
        "profile: where the time goes; peers: install them",
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="instead of a million")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=_listed([work.name for work in WORKS]), help="only these, with commas between")
    parser.add_argument("--peers", type=_listed([peer.name for peer in PEERS]), help="only these, with commas between")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-bench", help="where the peers are installed")
    parser.add_argument("--json", action="store_true", help="one object, with each lap")
    return parser.parse_args()


class _listed:  # noqa: N801 - the type of an argument
    def __init__(self, names: list[str]) -> None:
        self._names = names

    def __call__(self, text: str) -> list[str]:
        found = text.split(",")
        for name in found:
            if name not in self._names:
                raise argparse.ArgumentTypeError(f"there is no '{name}'; there are {', '.join(self._names)}")
        return found


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
