"""Files made to do harm: huge, packed, cut, flipped, nested. Each ends in delivery, or in words about what is wrong."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.attack.hostile import delivered, mapping, refusal, run
from tests.sources.helpers import failure, read
from tests.support.project import ENVIRONMENT, Project
from tests.support.sandbox import RunningSandbox

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MEGABYTE = 1 << 20


def csv(project: Project, stand_in: RunningSandbox, content: bytes, name: str = "e.csv", **source: Any) -> None:
    (project.folder / name).write_bytes(content)
    project.mapping(mapping(stand_in, {"type": "csv", "path": name, **source}))


NUMBERS = [
    *("9223372036854775807", "-9223372036854775808", "9007199254740993", "0", "-1"),
    *("18446744073709551615", "99999999999999999999999999999999999999", "-0.00000000000000000000000000000000000001"),
]


def test_numbers_of_any_size_keep_their_digits_as_text_and_in_json(project: Project, stand_in: RunningSandbox) -> None:
    csv(project, stand_in, b"n\n" + "\n".join(NUMBERS).encode())
    assert project.run().code == 0
    assert [row["n"] for row in delivered(stand_in)] == NUMBERS
    stand_in.reset()
    (project.folder / "e.jsonl").write_text("\n".join(f'{{"n":{number}}}' for number in NUMBERS))
    project.mapping(mapping(stand_in, {"type": "jsonl", "path": "e.jsonl"}))
    assert project.run().code == 0
    assert [Decimal(row["n"]) for row in delivered(stand_in)] == [Decimal(number) for number in NUMBERS]


@pytest.mark.parametrize("kind", ["integer", "decimal", "number"])
def test_typed_numbers_are_exact_or_rejected(project: Project, stand_in: RunningSandbox, kind: str) -> None:
    given = [*NUMBERS, "1e400", "nan", "inf", "0x10", "1_000", "٣", "12.10", "5e-324"]
    csv(project, stand_in, b"n\n" + "\n".join(given).encode(), types={"n": kind})
    ended = project.run()
    arrived = [row["n"] for row in delivered(stand_in)]
    assert ended.json["rows"]["read"] == len(given)
    assert ended.json["rows"]["rejected"] + len(arrived) == len(given)
    if kind == "integer":
        assert arrived == [int(number) for number in NUMBERS[:5]]
    elif kind == "decimal":
        # One value with too many digits after the point neither loses them nor takes the others' room.
        sound = [*(number for number in NUMBERS if len(number) <= 20), "12.10"]
        assert [Decimal(str(number)) for number in arrived] == [Decimal(number) for number in sound]
    else:
        assert [float(number) for number in arrived] == [
            *(float(number) for number in NUMBERS),
            12.1,
            5e-324,
        ]


@pytest.mark.parametrize(("columns", "properties"), [(10_000, ["column_0", "column_9999"]), (1_000, "*")])
def test_thousands_of_columns(
    project: Project, stand_in: RunningSandbox, columns: int, properties: str | list[str]
) -> None:
    names = [f"column_{n}" for n in range(columns)]
    row = [str(n) for n in range(columns)]
    csv(project, stand_in, "\n".join([",".join(names), *[",".join(row)] * 500]).encode())
    project.mapping(mapping(stand_in, {"type": "csv", "path": "e.csv"}, properties))
    assert run(project).code == 0
    expected = dict(zip(names, row, strict=True))
    assert (
        delivered(stand_in) == [expected if properties == "*" else {name: expected[name] for name in properties}] * 500
    )


def test_a_million_empty_lines(project: Project, stand_in: RunningSandbox) -> None:
    csv(project, stand_in, b"a,b\n" + b"\n" * 1_000_000 + b"1,2\r\n" + b"\r\n" * 10 + b"3,4")
    assert run(project).code == 0
    assert delivered(stand_in) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


@pytest.mark.parametrize("name", ["e.csv", "e.jsonl"])
def test_a_line_of_a_hundred_megabytes(project: Project, stand_in: RunningSandbox, name: str) -> None:
    csv(project, stand_in, b"a,b\n1," + b"x" * (100 * MEGABYTE), name)
    if name == "e.jsonl":
        project.mapping(mapping(stand_in, {"type": "jsonl", "path": name}))
    assert "longer than 16 MB" in refusal(run(project))


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_a_bomb(project: Project, stand_in: RunningSandbox, pack: Any) -> None:
    # Half a gigabyte in less than a megabyte; packed in pieces that follow one another, as one takes seconds.
    csv(project, stand_in, pack(b"a,b\n1,") + 16 * pack(b"x" * (32 * MEGABYTE)), "bomb.csv")
    assert "longer than 16 MB" in refusal(run(project))


def test_packed_files_that_are_cut_or_joined(tmp_path: Path) -> None:
    plain = b"a,b\n" + b"".join(b"%d,%d\n" % (n, random.Random(n).randrange(1 << 60)) for n in range(20_000))
    whole = read_csv(tmp_path, plain)
    assert len(whole) == 20_000
    for pack in (gzip.compress, zstd.compress):
        packed = pack(plain)
        half = plain.index(b"\n", len(plain) // 2) + 1
        assert read_csv(tmp_path, pack(plain[:half]) + pack(plain[half:])) == whole
        for cut in (len(packed) // 2, len(packed) - 3):
            (tmp_path / "e.csv").write_bytes(packed[:cut])
            assert "damaged, it cannot be unpacked" in failure(source(tmp_path))
        (tmp_path / "e.csv").write_bytes(packed + b"this is no part of it")
        assert "damaged, it cannot be unpacked" in failure(source(tmp_path))


def source(folder: Path) -> dict[str, Any]:
    return {"type": "csv", "path": str(folder / "e.csv")}


def read_csv(folder: Path, content: bytes) -> list[dict[str, Any]]:
    (folder / "e.csv").write_bytes(content)
    return read(source(folder)).rows


JSON_LINES = [
    # What JSON is, by the cases of public test suites.
    *('{"a":1e-2}', '{"a":123e65}', '{"a":[[[]]]}', '{"a":"\\u0060\\uD834\\uDD1E"}', '{"a":"\u2028"}'),
    *('{ "a" : [ 1 , null ] }', '{"a":{"b":{"c":[{}]}}}', '{"a":-0}', '{"a":1E+2}', '{"a":"\\"\\\\\\/\\b"}'),
]
NO_JSON_LINES = [
    *("[1]", '"a"', "1", "null", "", "{", '{"a"}', '{"a":}', '{"a":1,}', '{"a":1}}', "{'a':1}", '{"a":01}', '{"a":+1}'),
    *('{"a":.5}', '{"a":5.}', '{"a":NaN}', '{"a":Infinity}', '{"a":0x1}', '{"a":1 2}', '{"a":tru}', "{a:1}"),
    *('{"a":"\t"}', '{"a":"\\x"}', '{"a":"\\u12"}', '{"a":1} // comment', '{"a":1}{"a":2}', '\ufeff{"a":1}', '{"a":"'),
]


@pytest.mark.parametrize("line", JSON_LINES)
def test_a_line_that_is_json(tmp_path: Path, line: str) -> None:
    (tmp_path / "e.jsonl").write_text(f"{line}\n", encoding="utf-8")
    everything = read({"type": "jsonl", "path": str(tmp_path / "e.jsonl")})
    assert (len(everything.rows), everything.rejected) == (1, [])


@pytest.mark.parametrize("line", NO_JSON_LINES)
def test_a_line_that_is_not_json_is_rejected_alone(tmp_path: Path, line: str) -> None:
    (tmp_path / "e.jsonl").write_text(f'{{"a":0}}\n{line}\n{{"a":2}}\n', encoding="utf-8")
    everything = read({"type": "jsonl", "path": str(tmp_path / "e.jsonl")})
    assert [row["a"] for row in everything.rows] == [0, 2]
    assert [reason for _, reason, *_ in everything.rejected] == (["bad_json"] if line else [])


@pytest.mark.parametrize("depth", [100, 1_000, 10_000, 100_000])
def test_deep_nesting(project: Project, stand_in: RunningSandbox, depth: int) -> None:
    deep = '{"n":1,"a":' + "[" * depth + "]" * depth + "}"
    (project.folder / "e.jsonl").write_text(f'{{"n":0,"a":[]}}\n{deep}\n')
    project.mapping(mapping(stand_in, {"type": "jsonl", "path": "e.jsonl"}))
    ended = run(project)
    assert ended.code in (0, 3)
    assert ended.json["rows"]["rejected"] + len(delivered(stand_in)) == 2


def parquet(folder: Path) -> bytes:
    path = folder / "sound.parquet"
    frame = pl.DataFrame(
        {"n": range(3_000), "text": [f"text {n % 97}" for n in range(3_000)], "list": [[1, 2]] * 3_000}
    )
    frame.write_parquet(path, row_group_size=1_000)
    return path.read_bytes()


def test_a_parquet_file_that_is_cut(tmp_path: Path) -> None:
    sound = parquet(tmp_path)
    path = tmp_path / "e.parquet"
    for size in [
        1,
        3,
        4,
        8,
        11,
        12,
        100,
        len(sound) // 2,
        len(sound) - 9,
        len(sound) - 8,
        len(sound) - 4,
        len(sound) - 1,
    ]:
        path.write_bytes(sound[:size])
        assert str(path) in failure({"type": "parquet", "path": str(path)})


_FLIPS = """
import random, sys
from pathlib import Path
from tests.sources.helpers import read
from loader.errors import SourceError

sound, path = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
for seed in range(int(sys.argv[3]), int(sys.argv[4])):
    chance = random.Random(seed)
    damaged = bytearray(sound)
    for _ in range(chance.choice([1, 1, 2, 8])):
        at = chance.choice([chance.randrange(len(sound)), len(sound) - 1 - chance.randrange(400)])
        damaged[at] = chance.randrange(256)
    path.write_bytes(damaged)
    try:
        rows = len(read({"type": "parquet", "path": str(path)}).rows)
        assert rows == 3_000, rows
    except SourceError:
        pass
    print(seed, flush=True)
"""


@pytest.mark.parametrize("seed", [0, 1])
def test_a_parquet_file_with_flipped_bytes(tmp_path: Path, seed: int) -> None:
    """In a process of its own, for what a library written in another language may do to it."""
    parquet(tmp_path)
    first, last = seed * 150, seed * 150 + 150
    names = [str(tmp_path / "sound.parquet"), str(tmp_path / "e.parquet"), str(first), str(last)]
    ended = subprocess.run(
        [sys.executable, "-c", _FLIPS, *names], env=ENVIRONMENT, capture_output=True, text=True, timeout=200
    )
    assert ended.returncode == 0, f"after {ended.stdout.split()[-1:]}: {ended.stderr[-2000:]}"


def test_parquet_files_with_nothing_in_them(project: Project, stand_in: RunningSandbox) -> None:
    pl.DataFrame({"a": []}, schema={"a": pl.Int64}).write_parquet(project.folder / "e.parquet")
    project.mapping(mapping(stand_in, {"type": "parquet", "path": "e.parquet"}))
    assert project.run().json["rows"] == {"read": 0, "filtered": 0, "rejected": 0, "events": 0}
    (project.folder / "e.parquet").write_bytes(b"PARE" + bytes(40) + b"PARE")
    assert "e.parquet" in refusal(project.run("--again"))
