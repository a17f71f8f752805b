"""CSV files, as people and programs really write them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loader.sources import files
from loader.sources.csv_text import Grammar
from tests.sources.helpers import failure, opened, read, sized

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def source(path: Path, **keys: Any) -> dict[str, Any]:
    return {"type": "csv", "path": str(path), **keys}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(content: str | bytes, name: str = "orders.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_all_cells_are_text(write: Any) -> None:
    found = read(source(write("id,n,x,row\n00123,9007199254740993,12.10,NO\n1e5,-0,true,\n")))
    assert found.columns == dict.fromkeys(["id", "n", "x", "row"], pl.String())
    assert found.rows == [
        {"id": "00123", "n": "9007199254740993", "x": "12.10", "row": "NO"},
        {"id": "1e5", "n": "-0", "x": "true", "row": None},
    ]
    assert found.numbers == [1, 2]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends(write: Any, end: str, last: bool) -> None:
    lines = ["a,b", "1,x", '2,"y,z"', '3,"one\r\ntwo"', "4,"]
    found = read(source(write(end.join(lines) + (end if last else ""))))
    assert [tuple(row.values()) for row in found.rows] == [("1", "x"), ("2", "y,z"), ("3", "one\r\ntwo"), ("4", None)]


def test_blank_lines_are_no_rows(write: Any) -> None:
    found = read(source(write("\n\na,b\n1,2\n\n   \r\n3,4\n\n")))
    assert [row["a"] for row in found.rows] == ["1", "3"]
    assert found.rejected == []


def test_a_blank_line_of_one_column_is_a_null(write: Any) -> None:
    assert [row["a"] for row in read(source(write("a\n1\n\n3\n"))).rows] == ["1", None, "3"]


def test_empty_cells_and_null_values_are_null(write: Any) -> None:
    found = read(source(write('a,b\n"",\nNULL,"N/A"\nnull, \n'), null_values=["NULL", "N/A"]))
    assert [tuple(row.values()) for row in found.rows] == [(None, None), (None, None), ("null", " ")]


def test_header_names(write: Any) -> None:
    found = read(source(write('\ufeff id , "x",,z\n1,2,3,4\n')))
    assert list(found.columns) == ["id", '"x"', "column_3", "z"]


def test_names_instead_of_the_header(write: Any) -> None:
    path = write("id,id\n1,2\n")
    assert failure(source(path)) == (
        f"the header of {path} has two columns named 'id' (columns 1 and 2); give each its own name with `columns`"
    )
    assert read(source(path, columns=["a", "b"])).rows == [{"a": "1", "b": "2"}]
    assert len(read(source(path, columns=["a", "b"], has_header=False)).rows) == 2
    assert "`columns` names 3 columns, but the header of" in failure(source(path, columns=["a", "b", "c"]))
    assert "'__row', which numbers the rows here" in failure(source(path, columns=["a", "__row"]))


def test_a_column_named_row_is_a_column(write: Any) -> None:
    assert read(source(write("row\n7\n"))).rows == [{"row": "7"}]


def test_ragged_rows_are_rejected_alone(write: Any) -> None:
    found = read(source(write('a,b,c\n1,2,3\n4,5\n6,7,8,9,10\n"x\ny",2,3\n1,5" pipe,3\n2,"b",x,"y"\n')))
    assert found.numbers == [1, 4, 5]
    assert found.rows[1] == {"a": "x\ny", "b": "2", "c": "3"}
    assert found.rows[2]["b"] == '5" pipe'
    hint = 'if quotes are ordinary characters in this file, write `quote: ""`'
    assert [(row, reason, message) for row, reason, _, _, message in found.rejected] == [
        (2, "ragged_row", "line 3: 2 cells, 3 expected"),
        (3, "ragged_row", "line 4: 5 cells, 3 expected"),
        (6, "ragged_row", f"line 8: 4 cells, 3 expected; {hint}"),
    ]
    assert json.loads(found.records[2]) == {"a": "4", "b": "5"}
    assert json.loads(found.records[3]) == {"a": "6", "b": "7", "c": "8", "_extra": ["9", "10"]}


def test_ragged_rows_that_make_up_for_each_other(write: Any) -> None:
    found = read(source(write("a,b,c\n1,2,3,\n1,2\n")))
    assert [row[:2] for row in found.rejected] == [(1, "ragged_row"), (2, "ragged_row")]


def test_text_after_a_closing_quote_is_rejected_alone(write: Any) -> None:
    found = read(source(write('a,b\n1,"5" pipe\n2,ok\n"x"y,1\n3,"fine"\n')))
    assert [row["a"] for row in found.rows] == ["2", "3"]
    assert [row[:2] for row in found.rejected] == [(1, "bad_quotes"), (3, "bad_quotes")]
    assert found.rejected[0][4].startswith("line 2: text stands after the closing quote of a cell; if quotes are")
    assert found.records[1] == '1,"5" pipe'


def test_a_quote_that_never_closes(write: Any) -> None:
    path = write('a,b\n1,2\n3,"open\n' + "4,5\n" * 1000)
    message = f"{path}, line 3: the quote that opens here is never closed; if quotes are ordinary characters"
    assert failure(source(path)).startswith(message)
    with sized(64, 7), patch.object(files, "MAX_RECORD_BYTES", 500):
        assert failure(source(path)).startswith(message)
    assert len(read(source(path, quote="")).rows) == 1002


def test_a_line_without_end_does_not_fill_the_memory(write: Any) -> None:
    path = write("a,b\n" + "x" * 3000)
    with sized(64, 7), patch.object(files, "MAX_RECORD_BYTES", 1 << 10):
        assert failure(source(path)).startswith(f"{path}, line 2: the line is longer than")


def test_quotes_are_found_one_by_one_only_where_they_are_few() -> None:
    grammar = Grammar(",", '"')
    few = b'1,"a ""b"" c"\n' + b"2,x\n" * 500
    # JSON in a cell: few cells, many quotes, which would take six times longer than the expressions do.
    many = b'1,"' + b'""key"":1,' * 200 + b'"\n' + b"2,x\n" * 500
    assert grammar._few_cells(few) == [b'a ""b"" c']
    assert grammar._few_cells(many) is None
    for block, cell in ((few, 'a "b" c'), (many, '"key":1,' * 200)):
        found = grammar.fast(block, 2)
        assert found is not None
        assert found[0].rows() == [("1", cell), *[("2", "x")] * 500]


def test_no_quoting_and_other_signs(write: Any) -> None:
    assert read(source(write('a;b\n"x;y\n'), separator=";", quote="")).rows == [{"a": '"x', "b": "y"}]
    assert read(source(write("a\tb\n'x\ty'\t2\n"), separator="\t", quote="'")).rows == [{"a": "x\ty", "b": "2"}]
    assert read(source(write("a§b\n«x§y«§2\n"), separator="§", quote="«")).rows == [{"a": "x§y", "b": "2"}]
    assert failure(source(write("a"), separator='"')) == "`separator` must be neither a line end nor the quote"
    assert failure(source(write("a"), quote="\n")) == "`quote` must not be a line end"


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [
        ("utf-8", "utf-8-sig"),
        ("latin-1", "latin-1"),
        ("cp1252", "cp1252"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("UTF_16_BE", "utf-16-be"),
        ("shift_jis", "shift_jis"),
    ],
)
def test_encodings(write: Any, encoding: str, codec: str) -> None:
    text = "név,x\nπ,é\n" if codec.startswith("utf") else "név,x\nç,é\n" if codec != "shift_jis" else "名,x\nソ,二\n"
    path = write(text.encode(codec))
    with sized(3, 2):
        found = read(source(path, encoding=encoding))
    assert [list(found.columns), *[list(row.values()) for row in found.rows]] == [
        line.split(",") for line in text.splitlines()
    ]


def test_bytes_that_do_not_fit_reject_their_row(write: Any) -> None:
    path = write(b"a,b\n1,ok\n2,caf\xe9\n3,\xed\xa0\x80\n4,\xc3\xa9\n")
    found = read(source(path))
    assert [row["a"] for row in found.rows] == ["1", "4"]
    assert found.rejected[0] == (
        2,
        "bad_encoding",
        "b",
        "caf\\udce9",
        "line 3: column 'b' is not utf-8; the file may be cp1252 or latin-1: write `encoding: cp1252`",
    )
    assert found.rejected[1][:2] == (3, "bad_encoding")
    assert json.loads(found.records[2]) == {"a": "2", "b": "caf\\udce9"}
    assert len(read(source(path, encoding="latin-1")).rows) == 4
    undefined = read(source(write(b"a,b\n1,\x81\n2,\x80\n"), encoding="cp1252"))
    assert undefined.rows == [{"a": "2", "b": "€"}]
    assert undefined.rejected[0][:3] == (1, "bad_encoding", "b")


def test_wrong_encodings_are_named(write: Any) -> None:
    path = write("a,b\n1,2\n".encode("utf-16"))
    for encoding in ("utf-8", "latin-1"):
        assert failure(source(path, encoding=encoding)) == f"{path} looks like UTF-16; write `encoding: utf-16`"
    path = write("a,b\n1,2\n".encode("utf-16-le"))
    assert failure(source(path)) == f"{path} looks like UTF-16; write `encoding: utf-16-le`"
    assert failure(source(path, encoding="utf-9")).startswith("`encoding: utf-9` is not known; did you mean 'utf")
    assert failure(source(path, encoding="base64")).startswith("`encoding: base64` is not known")
    path = write(b"a,b\n1,\xff\xff\n")
    assert f"{path}, after line 1: the bytes are not shift_jis" in failure(source(path, encoding="shift_jis"))
    path = write(b"caf\xe9,b\n1,2\n")
    assert failure(source(path)) == (
        f"the header of {path} is not utf-8; the file may be cp1252 or latin-1: write `encoding: cp1252`"
    )


def test_nul_bytes_are_kept(write: Any) -> None:
    assert read(source(write('abc,b\n1\0,"\0"\n'))).rows == [{"abc": "1\0", "b": "\0"}]


@pytest.mark.parametrize("name", ["orders.csv.gz", "orders.csv.zst", "orders.csv"])
def test_compressed_files(write: Any, name: str) -> None:
    pack = zstd.compress if name.endswith("zst") else gzip.compress
    path = write(pack(b"a,b\n" + b"1,2\n" * 5000), name)
    with sized(1000, 300):
        assert len(read(source(path)).rows) == 5000


def test_damaged_and_foreign_files(write: Any) -> None:
    for pack in (gzip.compress, zstd.compress):
        content = pack(bytes(range(33, 127)) * 3000)
        assert "is damaged, it cannot be unpacked" in failure(source(write(content[: len(content) // 2])))
    assert "a zip archive or an Excel workbook; unpack it, or save it as CSV" in failure(
        source(write(b"PK\x03\x04abc"))
    )
    assert "is a Parquet file; write `type: parquet`" in failure(source(write(b"PAR1abc")))


def test_empty_file_and_header_only(write: Any) -> None:
    path = write("")
    assert failure(source(path)) == f"{path} is empty (0 bytes)"
    assert failure(source(write(" \n\n"))) == f"{path} is empty; not even a header is in it"
    assert failure(source(write(gzip.compress(b"")))) == f"{path} is empty; not even a header is in it"
    found = read(source(write("a,b")))
    assert (found.columns, found.rows, found.rejected) == ({"a": pl.String(), "b": pl.String()}, [], [])


def test_several_files_by_name(write: Any, tmp_path: Path) -> None:
    write("b,a\n4,3\n", "2.csv")
    write("a,b\n1,2\nx\n", "1.csv")
    write("a,b\n5,6\n", "3.csv")
    found = read(source(tmp_path / "*.csv"))
    assert found.rows == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}, {"a": "5", "b": "6"}]
    assert found.numbers == [1, 3, 4]
    assert [Path(frame.input.path).name for frame in found.frames if frame.input] == ["1.csv", "2.csv", "3.csv"]
    opened_source = opened(source(tmp_path / "*.csv"))
    assert [frame.rows["a"].to_list() for frame in opened_source.frames(opened_source.inputs[1:2])] == [["3"]]
    write("a,c\n1,2\n", "4.csv")
    assert f"{tmp_path}/4.csv has no column 'b', which {tmp_path}/1.csv has" in failure(source(tmp_path / "*.csv"))
    write("a,b,c\n1,2,3\n", "4.csv")
    assert f"{tmp_path}/4.csv has a column 'c', which" in failure(source(tmp_path / "*.csv"))


TYPED = """id,n,x,d,ok,t,day,s
1,12,1.5,12.10,yes,2026-03-01T12:30:00Z,2026-03-01,007
2,1.5,abc,1.2.3,maybe,2026-02-30T00:00:00Z,2026-13-01,x
3,,,,,,,
"""
TYPES = {
    "n": "integer",
    "x": "number",
    "d": "decimal",
    "ok": "boolean",
    "t": "datetime",
    "day": "date",
    "s": "text",
}


def test_types(write: Any) -> None:
    found = read(source(write(TYPED), types=TYPES))
    assert found.rows[0] == {
        "id": "1",
        "n": 12,
        "x": 1.5,
        "d": Decimal("12.10"),
        "ok": True,
        "t": datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        "day": date(2026, 3, 1),
        "s": "007",
    }
    assert found.rows[1] == {"id": "3"} | dict.fromkeys(TYPES)
    assert found.rejected == [
        (2, "bad_type", "n", "1.5", "column 'n': '1.5' is not a whole number of at most 64 bits"),
    ]
    assert json.loads(found.records[2])["ok"] == "maybe"


@pytest.mark.parametrize(
    ("column", "reason"),
    [("x", "bad_type"), ("d", "bad_type"), ("ok", "bad_type"), ("t", "bad_time"), ("day", "bad_time")],
)
def test_each_type_rejects_alone(write: Any, column: str, reason: str) -> None:
    found = read(source(write(TYPED), types={column: TYPES[column]}))
    assert found.numbers == [1, 3]
    assert found.rejected[0][:3] == (2, reason, column)


def test_types_of_columns_that_nobody_uses_are_left_alone(write: Any) -> None:
    found = read(source(write(TYPED), types=TYPES), used=["id"])
    assert len(found.rows) == 3
    assert found.columns["n"] == pl.String()


def test_types_name_a_column_that_is_not_there(write: Any) -> None:
    path = write("amount,b\n1,2\n")
    assert failure(source(path, types={"amuont": "integer"})) == (
        f"`types` names the column 'amuont', which {path} does not have; did you mean 'amount'?"
    )


def test_times_and_zones(write: Any) -> None:
    path = write("t\n2026-03-29 02:30:00\n2026-10-25 02:30:00\n2026-07-01 12:00:00\n")
    found = read(source(path, types={"t": "datetime"}), timezone="Europe/Paris")
    assert found.rows == [{"t": datetime(2026, 7, 1, 10, tzinfo=UTC)}]
    assert [row[1] for row in found.rejected] == ["time_skipped", "time_repeated"]
    assert failure(source(path, types={"t": "datetime"})).startswith(
        f"{path}, row 1, column 't': the time '2026-03-29 02:30:00' has no zone; name its zone with `timezone:`"
    )


def test_the_scale_of_a_decimal_is_that_of_the_file_not_of_the_frame(write: Any) -> None:
    path = write("d\n" + "1.5\n" * 50 + "2.125\n")
    with sized(16, 3):
        found = read(source(path, types={"d": "decimal"}))
    assert found.columns["d"] == pl.Decimal(38, 3)
    assert found.rows[0]["d"] == Decimal("1.500")


def cells(text: st.SearchStrategy[str]) -> st.SearchStrategy[list[list[str]]]:
    return st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(text, min_size=width, max_size=width), min_size=0, max_size=12)
    )


ANY_TEXT = st.text(
    st.one_of(st.sampled_from(",;\t\"'\n\r é€😀\0a1"), st.characters(exclude_categories=["Cs"])), max_size=8
)


@settings(max_examples=300, deadline=None)
@given(
    table=cells(ANY_TEXT),
    separator=st.sampled_from(",;\t|é"),
    quote=st.sampled_from("\"'"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    block=st.sampled_from([1, 2, 3, 7, 50, 1 << 20]),
    frame=st.integers(1, 5),
)
@example([["\ufeff", "a"], ["", "\ufeff"]], ",", '"', csv.QUOTE_MINIMAL, "\n", "utf-8", 1, 1)
def test_what_pythons_csv_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[list[str]],
    separator: str,
    quote: str,
    quoting: Any,
    end: str,
    encoding: str,
    block: int,
    frame: int,
) -> None:
    width = len(table[0]) if table else 1
    names = [f"c{i}" for i in range(width)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, quotechar=quote, quoting=quoting, lineterminator=end)
    writer.writerow(names)
    for row in table:
        # A carriage return that Python leaves bare at a line's end is the line's end to every reader.
        bare = any("\r" in cell for cell in row) and quoting == csv.QUOTE_MINIMAL
        csv.writer(
            buffer,
            delimiter=separator,
            quotechar=quote,
            quoting=csv.QUOTE_ALL if bare or row == [" " * len(row[0])] * width else quoting,
            lineterminator=end,
        ).writerow(row)
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    path.write_bytes(buffer.getvalue().encode(encoding))
    with sized(block, frame):
        found = read(source(path, separator=separator, quote=quote, encoding=encoding))
    assert found.rejected == []
    assert [list(row.values()) for row in found.rows] == [[cell or None for cell in row] for row in table]


@settings(max_examples=500, deadline=None)
@given(
    text=st.text(st.sampled_from(',"\n\r ab\0é\ufeff'), min_size=1, max_size=40),
    columns=st.integers(1, 3),
    quote=st.sampled_from(['"', None]),
)
@example('","x"y"', 1, '"')
@example('"x","\n"y"z"', 2, '"')
@example("1,2,3,\n1,2", 3, '"')
@example('""\n\n"a""b",c', 2, '"')
@example("\n,", 1, '"')
@example("1,2\n1\n1,2,", 2, '"')
@example('1,2\n1\n1,"",""', 2, '"')
@example("1,2\n1\n1,,\n", 2, None)
def test_what_polars_is_trusted_with_is_what_the_grammar_says(text: str, columns: int, quote: str | None) -> None:
    grammar = Grammar(",", quote)
    found = grammar.fast(text.encode(), columns)
    if found is None:
        return
    fast, lines = found
    assert lines == text.count("\n") + (not text.endswith("\n"))
    slow = list(grammar.records(text, final=True))
    kept = [r.cells for r in slow if columns == 1 or len(r.cells) > 1 or r.raw.strip(" ")]  # type: ignore[union-attr]
    assert [[cell or "" for cell in row] for row in fast.rows()] == kept
    assert not any(record.misquoted for record in slow)  # type: ignore[union-attr]


@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(max_size=60)
    | st.lists(st.sampled_from([b",", b'"', b"\n", b"\r", b"a", b"\xe9", b"\0"])).map(b"".join)
)
def test_any_bytes_give_the_same_whatever_the_size_of_blocks(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("csv") / "any.csv"
    path.write_bytes(b"a,b\n1,2\n" + data)
    results: list[Any] = []
    for block, frame in ((1 << 20, 1000), (5, 3), (1, 1)):
        with sized(block, frame):
            try:
                found = read(source(path))
                results.append((found.rows, found.numbers, found.rejected, found.records))
            except Exception as error:
                results.append(str(error))
    assert results[0] == results[1] == results[2]


def test_fast_path_is_taken(write: Any) -> None:
    """Well formed files, quoted or not, never fall back to the slow way."""
    for content in (
        "1,2\n" * 1000,
        '5" pipe,x"y\n' * 1000,
        '"1","x""y"\n' * 1000,
        '1,"a,b\nc"\r\n' * 1000,
        'é,"ü"\n' * 1000,
    ):
        with patch.object(Grammar, "records", side_effect=AssertionError):
            grammar = Grammar(",", '"')
            found = grammar.fast(content.encode(), 2)
            assert found is not None
            assert found[0].height == 1000


def test_real_file(real_data: Path) -> None:
    with real_data.open(encoding="utf-8-sig", newline="") as file:
        header, *table = csv.reader(file)
    with sized(10_007, 777):
        found = read(source(real_data))
    assert list(found.columns) == header
    sound = [row for row in table if len(row) == len(header)]
    assert [list(row.values()) for row in found.rows] == [[cell or None for cell in row] for row in sound]
    assert [row[0] for row in found.rejected] == [i for i, row in enumerate(table, 1) if len(row) != len(header)]
    assert {row[1] for row in found.rejected} == {"ragged_row"}
