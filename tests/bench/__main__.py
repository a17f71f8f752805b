"""`python -m tests.bench [--rows 1000000] [--rounds 3] [--provider batch|bloomreach]`: see README.md here."""

from __future__ import annotations

import argparse

from tests.bench.race import make, middle, race, racers, ratio, sink, workplace


def main() -> None:
    """Race, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="The loader against a script.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--provider", choices=["batch", "bloomreach"], default="batch")
    options = parser.parse_args()
    with workplace() as folder, sink() as to:
        source = folder / "events.csv"
        make(source, options.rows)
        laps = race(racers(options.provider, source, to, folder), options.rows, options.rounds)
    print(f"{options.rows:,} rows to {options.provider}, medians of {options.rounds}; each process from start to end\n")
    print("|        | seconds | events/s | µs CPU/event | most MB | requests |")
    print("| ------ | ------: | -------: | -----------: | ------: | -------: |")
    for name, all_laps in laps.items():
        lap = middle(all_laps)
        speed, cost = options.rows / lap.wall, lap.cpu / options.rows * 1e6
        print(f"| {name} | {lap.wall:7.2f} | {speed:8,.0f} | {cost:12.1f} | {lap.peak:7.0f} | {lap.requests:8,} |")
    print(f"\nThe loader does {ratio(laps):.1f} times as many events a second as the script.")


if __name__ == "__main__":
    main()
