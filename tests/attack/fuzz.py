"""`python -m tests.attack.fuzz csv|json|mapping|answers [--seconds 600]`: a fuzzer that looks for new ways through.

It needs `pip install atheris`. An input that ends in anything else than words stops it with a traceback and the input.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["loader"]):
    from loader.errors import LoaderError
    from loader.mapping import bind, read
    from loader.providers import PROVIDERS
    from loader.providers.base import Answer, Outcome
    from loader.settings import CsvSettings, JsonlSettings
    from loader.sources import find_files, open_source

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))
ROUTES = [route for provider in PROVIDERS.values() for route in provider.routes]


def csv(data: bytes) -> None:
    """A CSV file of any bytes."""
    path = FOLDER / "any.csv"
    path.write_bytes(data[1:])
    quote = '"' if data[:1] > b"\x20" else None
    _read(CsvSettings(type="csv", path=[str(path)], quote=quote, encoding="utf-8" if data[:1] < b"\xf0" else "latin-1"))


def json(data: bytes) -> None:
    """A file of JSON lines of any bytes."""
    path = FOLDER / "any.jsonl"
    path.write_bytes(data)
    _read(JsonlSettings(type="jsonl", path=[str(path)]))


def _read(settings: CsvSettings | JsonlSettings) -> None:
    try:
        source = open_source(settings, find_files(settings, FOLDER), timezone="UTC", cursor=None)
        numbers = [n for f in source.frames() for n in [*f.rows.to_series(0), *f.rejected["row"]]]
    except LoaderError:
        return
    assert sorted(numbers) == list(range(1, len(numbers) + 1)), "rows are numbered without gaps"


def mapping(data: bytes) -> None:
    """A mapping of any bytes."""
    path = FOLDER / "any.yaml"
    path.write_bytes(data)
    try:
        bind(read(path, credentials="optional", env={}), {})
    except LoaderError:
        return


def answers(data: bytes) -> None:
    """Any answer to two events."""
    given = atheris.FuzzedDataProvider(data)
    route = ROUTES[given.ConsumeIntInRange(0, len(ROUTES) - 1)]
    status = given.PickValueInList([200, 201, 202, 302, 400, 401, 429, 500, 502, 503])
    headers = {name: given.ConsumeUnicodeNoSurrogates(20) for name in ("retry-after", "location", "x-ratelimit-reset")}
    rows = [1, 2][: route.events_per_call]
    receipt = route.read(Answer(status, headers, given.ConsumeBytes(given.remaining_bytes())), rows)
    assert receipt.outcome is not Outcome.TAKEN or 200 <= status < 300, "only a success is taken"


TARGETS: dict[str, Callable[[bytes], None]] = {"csv": csv, "json": json, "mapping": mapping, "answers": answers}


def main() -> None:
    """Fuzz one target."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.fuzz")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    options = parser.parse_args()
    seeds = FOLDER / "seeds"
    seeds.mkdir()
    root = Path(__file__).parents[2]
    for path in [*(root / "mappings").glob("*.yaml"), *(root / "sample_data").iterdir()]:
        if path.is_file() and path.stat().st_size < 1_000_000:
            (seeds / path.name).write_bytes(path.read_bytes()[:4_000])
    os.chdir(FOLDER)
    limits = [f"-max_total_time={options.seconds}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], *limits, str(seeds)], TARGETS[options.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
