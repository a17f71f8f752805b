"""The last step of every source: `types:` are applied, the cursor is kept, what fails is rejected row by row."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import polars as pl

from loader import convert, rejection
from loader.errors import LoaderError, SourceError
from loader.rejection import ROW
from loader.settings import ColumnType
from loader.sources.base import Frame, Input, nearest, no_records, record_texts
from loader.sources.cursor import Watch

_TYPES: dict[ColumnType, pl.DataType] = {
    "text": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
    "datetime": convert.UTC_TIME,
    "date": pl.Date(),
}


def wanted_types(
    types: Mapping[str, ColumnType], columns: Collection[str], used: Collection[str] | None, where: str
) -> dict[str, ColumnType]:
    """Those of `types` that matter. Raises SourceError where one names a column that is not there."""
    for name in types:
        if name not in columns:
            raise SourceError(
                f"`types` names the column '{name}', which {where} does not have; {nearest(name, columns)}"
            )
    return {name: kind for name, kind in types.items() if used is None or name in used}


def dtype_of(kind: ColumnType, scale: int) -> pl.DataType:
    """The type of a column that `types:` makes a `kind`; `scale` is the digits after the point of a decimal."""
    return pl.Decimal(38, scale) if kind == "decimal" else _TYPES[kind]


def decimal_scale(cells: pl.Series) -> int:
    """The digits after the point that the decimals among `cells` (text) need, as far as a column has room for them."""
    digits = cells.str.extract(r"^\s*[+-]?[0-9]*\.([0-9]*?)0*\s*$", 1).str.len_bytes().max()
    return min(digits, convert.MAX_SCALE) if isinstance(digits, int) else 0


def text_scale(cell: str) -> int:
    """The same for one text."""
    match = re.fullmatch(r"\s*[+-]?[0-9]*\.([0-9]*?)0*\s*", cell)
    return 0 if match is None else min(len(match[1]), convert.MAX_SCALE)


class Finish:
    """Turns raw frames of one source (columns of any type) into `Frame`s.

    `columns`: names and types that the frames have afterwards. `types`: the conversions among them.
    """

    def __init__(
        self,
        columns: dict[str, pl.DataType],
        types: Mapping[str, ColumnType],
        timezone: str | None,
        watch: Watch | None,
    ) -> None:
        self.columns = columns
        self._types = types
        self._timezone = timezone
        self._watch = watch

    def frame(
        self,
        rows: pl.DataFrame,
        rejected: pl.DataFrame | None,
        records: pl.DataFrame | None,
        file: Input | None,
        *,
        raw: pl.DataFrame | None = None,
    ) -> Frame:
        """`rows`: with `rejection.ROW` first. `rejected`: rows that could not be read, if there are any.

        `records`: of those which are not in `rows`; the others are taken from `raw` (default: `rows`).
        """
        bad = [] if rejected is None else [rejected]
        texts = [] if records is None else [records]
        raw = rows if raw is None else raw
        filtered = 0
        # The cursor first: a row below it is filtered, whatever else may be wrong with it.
        if self._watch is not None:
            rows = self._convert(rows, self._watch.column, file, bad)
            rows, filtered, failed = self._watch.apply(rows)
            if failed is not None:
                bad.append(failed)
        for name in self._types:
            if self._watch is None or name != self._watch.column:
                rows = self._convert(rows, name, file, bad)
        if not bad and not texts:
            return Frame(rows, rejection.empty(), no_records(), filtered, file)
        lost = pl.concat(bad) if bad else rejection.empty()
        known = texts[0]["row"] if texts else pl.Series("row", [], pl.UInt64)
        # One rejection a row: the first column that fails.
        lost = lost.unique("row", keep="first", maintain_order=True)
        late = lost.filter(~pl.col("row").is_in(known.implode()))["row"]
        if len(late):
            mask = rows[ROW].is_in(late.implode())
            texts.append(record_texts(raw.filter(raw[ROW].is_in(late.implode()))))
            rows = rows.filter(~mask)
        return Frame(
            rows,
            lost.sort("row"),
            pl.concat(texts).sort("row") if texts else no_records(),
            filtered,
            file,
        )

    def _convert(self, rows: pl.DataFrame, name: str, file: Input | None, bad: list[pl.DataFrame]) -> pl.DataFrame:
        kind = self._types.get(name)
        if kind is None:
            return rows
        cells = rows[name]
        where = "" if file is None else f"{file.path}, "
        try:
            done = convert.convert(cells, kind, timezone=self._timezone)
        except convert.TimeWithoutZone as error:
            row = rows.filter(cells.cast(pl.String) == error.value)[ROW].item(0)
            raise SourceError(f"{where}row {row}, column '{name}': {error}") from None
        except LoaderError as error:
            raise SourceError(f"{where}column '{name}': {error}") from None
        values, failures = done.values.cast(self.columns[name], strict=False), done.failures
        if values.null_count() > done.values.null_count():
            too_big = values.is_null() & done.values.is_not_null()
            failures = pl.select(pl.when(too_big).then(pl.lit("bad_type")).otherwise(failures)).to_series()
        if failures.null_count() < len(failures):
            bad.append(_rejections(rows, cells, failures, name, kind))
        return rows.with_columns(values.alias(name))


def _rejections(rows: pl.DataFrame, cells: pl.Series, failures: pl.Series, name: str, kind: ColumnType) -> pl.DataFrame:
    parts = []
    for reason in failures.drop_nulls().unique().sort():
        what = f"is not {convert.WANTED[kind]}" if reason in ("bad_type", "bad_time") else rejection.REASONS[reason]
        if kind == "decimal":
            what += f" of at most 38 digits, {convert.MAX_SCALE} of them after the point"
        between = " " if reason in ("bad_type", "bad_time") else ": "
        message = f"column '{name}': '{{value}}'{between}{what}"
        mask = (failures == reason).fill_null(value=False)
        frame = rows.select(ROW, pl.Series("_value", cells, pl.String))
        parts.append(rejection.reject(frame, mask, reason, name, message, pl.col("_value")))
    return pl.concat(parts)
