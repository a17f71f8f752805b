"""Objects of an S3 server: found, read, cut off, changed and refused."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from pydantic import TypeAdapter

from loader.errors import SourceError
from loader.settings import SourceSettings
from loader.sources import Input, find_files, found_files, object_store, open_source
from tests.support.s3 import S3, Relay

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_SETTINGS: TypeAdapter[Any] = TypeAdapter(SourceSettings)


def files(path: str | list[str], copies: Path) -> list[Input]:
    return find_files(_SETTINGS.validate_python({"type": "csv", "path": path}), copies)


def rows(**settings: Any) -> list[dict[str, Any]]:
    validated = _SETTINGS.validate_python(settings)
    with found_files(validated) as inputs:
        source = open_source(validated, inputs, timezone=None, cursor=None)
        return [row for frame in source.frames() for row in frame.rows.select(list(source.columns)).to_dicts()]


def failure(act: Callable[[], object]) -> str:
    with pytest.raises(SourceError) as caught:
        act()
    return str(caught.value)


def test_names_and_globs(s3: S3, near: Relay, tmp_path: Path) -> None:
    keys = ["b.csv", "a b+c.csv", "é%41.csv", "x[1].csv", "d/deep/c.csv", "d/c.csv", "d-e/f.csv", "d/", "other.txt"]
    s3.put_all("names", {key: b"" if key.endswith("/") else b"a\n1\n" for key in keys})

    def names(*paths: str) -> list[str]:
        found = files([f"s3://names/{path}" for path in paths], tmp_path)
        return [file.path.removeprefix("s3://names/") for file in found]

    assert names("*.csv") == ["a b+c.csv", "b.csv", "x[1].csv", "é%41.csv"]
    assert names("**/c.csv") == ["d/c.csv", "d/deep/c.csv"]
    assert names("*/[cf].csv") == ["d/c.csv", "d-e/f.csv"], "as files of a disk are sorted"
    assert names("d/*.csv") == ["d/c.csv"]
    assert names("*/*/[a-c].csv") == ["d/deep/c.csv"]
    assert names("x[1].csv") == ["x[1].csv"]
    assert names("[bx]*") == ["b.csv", "x[1].csv"]
    assert names("b.csv", "?.csv", "é%41.csv") == ["b.csv", "é%41.csv"]
    assert names("*") == ["a b+c.csv", "b.csv", "other.txt", "x[1].csv", "é%41.csv"], "a folder is no file"
    for key in keys[:6]:
        assert files(f"s3://names/{key}", tmp_path / key)[0].whole().read_bytes() == b"a\n1\n"


def test_more_names_than_a_page_holds(s3: S3, near: Relay, tmp_path: Path) -> None:
    s3.put_all("many", {f"in/{number:05d}.csv": b"a\n1\n" for number in range(1_001)})
    found = files("s3://many/in/*.csv", tmp_path)
    assert [file.path for file in found] == [f"s3://many/in/{number:05d}.csv" for number in range(1_001)]
    assert sum("list-type" in line for line in near.requests) == 2


def test_what_is_not_there(s3: S3, near: Relay, tmp_path: Path) -> None:
    s3.put("some", x=b"a\n1\n")
    assert failure(lambda: files("s3://some/y.csv", tmp_path)) == (
        "s3://some/y.csv: there is no such file, or its bucket is missing"
    )
    assert failure(lambda: files("s3://some/*.csv", tmp_path)) == "s3://some/*.csv: no file matches"
    assert failure(lambda: files("s3://none/*.csv", tmp_path)) == (
        "s3://none/*.csv cannot be read: 404 Not Found, NoSuchBucket"
    )
    for path in ("s3://some/in/", "s3://some"):
        assert failure(lambda path=path: files(path, tmp_path)) == (  # type: ignore[misc]
            f"{path} names no files; name them, such as {path.rstrip('/')}/*.csv"
        )
    assert "hidden" not in failure(lambda: files("s3://key:hidden@some/x.csv", tmp_path))
    s3.put_all("some", {"in//x.csv": b"a\n1\n"})
    assert "in//x.csv" in failure(lambda: files("s3://some/in/*.csv", tmp_path))


def test_all_formats(s3: S3, near: Relay) -> None:
    text = "a,b\n" + "".join(f"{number:05d},x\n" for number in range(5000))
    lines = "".join(f'{{"a":"{number:05d}","b":"x"}}\n' for number in range(5000))
    table = io.BytesIO()
    expected = pl.DataFrame({"a": [f"{number:05d}" for number in range(5000)], "b": ["x"] * 5000})
    expected.write_parquet(table)
    s3.put_all(
        "formats",
        {
            "a.csv": text.encode(),
            "a.csv.gz": gzip.compress(text.encode()),
            "a.zst": zstd.compress(text.encode()),
            "a.jsonl": lines.encode(),
            "a.parquet": table.getvalue(),
        },
    )
    # Several blocks of each.
    with patch.object(object_store, "BLOCK_BYTES", 3000):
        for kind, name in [("csv", "a.csv"), ("csv", "a.csv.gz"), ("csv", "a.zst"), ("jsonl", "a.jsonl")]:
            assert rows(type=kind, path=f"s3://formats/{name}") == expected.to_dicts(), name
        assert rows(type="parquet", path="s3://formats/a.parquet") == expected.to_dicts()


def test_the_fingerprint(s3: S3, near: Relay, tmp_path: Path) -> None:
    s3.put("prints", x=b"a\n1\n")
    [first] = files("s3://prints/x", tmp_path)
    [same] = files("s3://prints/x", tmp_path / "again")
    assert (first, near.gets("prints")) == (same, []), "nothing is read to tell"
    s3.put("prints", x=b"a\n2\n")
    [other] = files("s3://prints/x", tmp_path / "later")
    assert (other.size, other.inode != first.inode) == (4, True)


def test_an_object_that_changes_while_it_is_read(s3: S3, near: Relay, tmp_path: Path) -> None:
    s3.put("changes", x=b"a\n" + b"1\n" * 5000)
    with patch.object(object_store, "BLOCK_BYTES", 3000):
        [file] = files("s3://changes/x", tmp_path)
        with file.open() as content:
            assert content.read(10) == b"a\n1\n1\n1\n1\n"
            s3.put("changes", x=b"a\n" + b"2\n" * 5000)
            assert failure(content.read) == (
                "s3://changes/x changed while it was read; nothing of this read is kept. "
                "Run again when the file is complete."
            )


def test_a_connection_that_breaks(s3: S3, near: Relay, tmp_path: Path) -> None:
    content = b"a\n" + b"1234567\n" * 100_000
    s3.put("breaks", x=content)
    near.cuts, near.cut_after = 2, 300_000
    [file] = files("s3://breaks/x", tmp_path)
    assert file.whole().read_bytes() == content
    assert near.cuts == 0
    near.cuts, near.cut_after = 1000, 500
    [file] = files("s3://breaks/x", tmp_path / "again")
    words = failure(file.whole)
    assert words.startswith("s3://breaks/x cannot be read: ")
    assert "127.0.0.1" not in words


def test_only_the_beginning_is_read_to_look_at_it(s3: S3, near: Relay) -> None:
    s3.put_all("big", {"x.csv": b"a,b\n" + b"1234567,1234567\n" * 2_000_000})
    validated = _SETTINGS.validate_python({"type": "csv", "path": "s3://big/x.csv"})
    with found_files(validated) as inputs:
        source = open_source(validated, inputs, timezone=None, cursor=None)
        assert list(source.columns) == ["a", "b"]
        assert next(iter(source.frames())).rows.height > 0
    assert near.sent < 17 << 20
    assert len(near.gets("big")) <= 2


def test_keys_that_are_refused_are_not_shown(
    s3: S3, near: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_all("closed", {"x.csv": b"a\n1\n"})
    iam = s3.client("iam")
    iam.create_user(UserName="reader")
    iam.put_user_policy(
        UserName="reader",
        PolicyName="read",
        PolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}',
    )
    good = iam.create_access_key(UserName="reader")["AccessKey"]
    s3.authenticate(True)
    try:
        for path in ("s3://closed/x.csv", "s3://closed/*.csv"):
            words = failure(lambda path=path: files(path, tmp_path))  # type: ignore[misc]
            assert words.startswith(f"{path} cannot be read: 403 Forbidden")
            assert "AWS_ACCESS_KEY_ID" in words
            assert "test-" not in words
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", good["AccessKeyId"])
        words = failure(lambda: files("s3://closed/*.csv", tmp_path))
        assert "SignatureDoesNotMatch" in words
        assert good["AccessKeyId"] not in words
        # A profile, as the tools of the cloud know it.
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        profile = (
            f"[nightly]\naws_access_key_id={good['AccessKeyId']}\naws_secret_access_key={good['SecretAccessKey']}\n"
        )
        (tmp_path / "credentials").write_text(profile)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        monkeypatch.setenv("AWS_PROFILE", "nightly")
        assert rows(type="csv", path="s3://closed/*.csv") == [{"a": "1"}]
        monkeypatch.setenv("AWS_PROFILE", "missing")
        assert "missing" in failure(lambda: files("s3://closed/*.csv", tmp_path))
        # None at all: as a public bucket is read.
        monkeypatch.delenv("AWS_PROFILE")
        assert "403 Forbidden; check the credentials" in failure(lambda: files("s3://closed/x.csv", tmp_path))
    finally:
        s3.authenticate(False)
    s3.client().put_object_acl(Bucket="closed", Key="x.csv", ACL="public-read")
    assert rows(type="csv", path="s3://closed/x.csv") == [{"a": "1"}]
