"""The load and the soak in short. The long forms: `python -m tests.attack load`, `python -m tests.attack soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.load import load
from tests.attack.soak import soak
from tests.attack.watched import Growth, Sample, no_growth


def test_memory_does_not_grow_with_the_source(tmp_path_factory: pytest.TempPathFactory) -> None:
    # A third of so short a load is Python's own start.
    load(tmp_path_factory.mktemp("load"), 1_000_000, print, most_growth=2)


def test_a_delivery_at_the_providers_rates_does_not_grow(tmp_path: Path) -> None:
    # A quarter of so short a delivery is the loader's own start.
    found = soak(tmp_path, 0.1, print, every=0.1, tolerance=1)
    assert found["events"]["bloomreach"]["total"] == 1000


@pytest.mark.parametrize("name", ["megabytes", "open_files", "sockets", "state_files", "journal_megabytes"])
def test_growth_is_seen(name: str) -> None:
    names = ("megabytes", "open_files", "sockets", "state_files", "journal_megabytes")
    flat = [Sample(second, **dict.fromkeys(names, 100.0)) for second in range(100)]
    assert no_growth(flat)[name] == (100.0, 100.0)
    grown = [Sample(second, **{other: 100.0 + second * (other == name) for other in names}) for second in range(100)]
    with pytest.raises(Growth, match=f"{name} grew from 137.5 to 187.0|{name} grew"):
        no_growth(grown)
