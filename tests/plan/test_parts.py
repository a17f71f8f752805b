"""Parts on disk: what is read is what was written, or an error."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import polars as pl
import pytest

from loader.errors import StateError
from loader.plan import open_part
from loader.plan.parts import PART_SCHEMA, part_path, write_durably


@pytest.fixture
def part(tmp_path: Path) -> Path:
    columns = {
        "chunk": [1] * 500,
        "row": range(500),
        "id": [None] * 500,
        "time": range(500),
        "user": ['"u"'] * 500,
        "event": ['{"name":"ue.x","attributes":{"n":%d}}' % n for n in range(500)],
    }
    path = part_path(tmp_path, "batch", 1)
    write_durably(pl.DataFrame(columns, schema=PART_SCHEMA), path)
    return path


def test_a_part_is_what_was_written(part: Path, tmp_path: Path) -> None:
    assert open_part(tmp_path, "batch", 1).get_column("row").to_list() == list(range(500))
    assert [path.name for path in sorted(part.parent.iterdir())] == ["00001.parquet", "00001.sha256"]


def test_no_changed_bit_is_missed(part: Path, tmp_path: Path) -> None:
    whole, chance = part.read_bytes(), random.Random(1)
    for _ in range(200):
        broken = bytearray(whole)
        broken[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        part.write_bytes(broken)
        with pytest.raises(StateError, match=r"00001\.parquet is damaged"):
            open_part(tmp_path, "batch", 1)


@pytest.mark.parametrize("name", ["00001.parquet", "00001.sha256"])
def test_a_file_that_is_gone_is_named(part: Path, tmp_path: Path, name: str) -> None:
    part.with_name(name).unlink()
    with pytest.raises(StateError, match=f"{name} is missing"):
        open_part(tmp_path, "batch", 1)


def test_the_checksum_is_one_that_others_can_check(part: Path) -> None:
    checked = subprocess.run(["sha256sum", "--check", "00001.sha256"], cwd=part.parent, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "00001.parquet: OK\n")
