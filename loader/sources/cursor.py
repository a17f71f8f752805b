"""`cursor:` of a source: where to start, and the highest value that was seen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from math import ceil
from zoneinfo import ZoneInfo

import polars as pl

from loader import convert
from loader.errors import LoaderError, SourceError
from loader.jsontype import DIGITS
from loader.rejection import ROW, reject
from loader.settings import Cursor, CursorValue
from loader.sources.base import nearest

_NUMBER = r"^-?[0-9]+(?:\.[0-9]+)?$"


class Watch:
    """The cursor of one read: what lies above `floor` is taken, and `highest` is the highest value seen.

    With a `lag` the floor itself is taken, too: rows whose values are equal may arrive one after the other.
    """

    def __init__(
        self,
        settings: Cursor,
        columns: Mapping[str, pl.DataType],
        stored: CursorValue | None,
        timezone: str | None,
        *,
        filters: bool,
        query: bool = False,
    ) -> None:
        """`columns`: those of the source. `stored`: where the last plan left the cursor. `filters`: whether rows below
        the floor are left out here. `query`: whether a database has compared them before.

        Raises SourceError where the column is not there, cannot be ordered, or where the values of the mapping or of
        the last plan do not fit its type.
        """
        self.column = settings.column
        if self.column not in columns:
            raise SourceError(f"the cursor's column '{self.column}' is not there; {nearest(self.column, columns)}")
        dtype = columns[self.column]
        if dtype == DIGITS:
            raise SourceError(
                f"the cursor's column '{self.column}' holds numbers of any size, which have no order here; "
                f"CAST it in the query, such as CAST({self.column} AS DECIMAL(38, 6))"
            )
        self._dtype = pl.Datetime("us", dtype.time_zone) if isinstance(dtype, pl.Datetime) else dtype
        if not (self._dtype == pl.String or self._dtype.is_numeric() or self._dtype in (pl.Date, pl.Datetime)):
            raise SourceError(f"the cursor's column '{self.column}' is of type {dtype}, which has no order")
        self._filters, self._query = filters, query
        self._reaches = settings.lag is not None and stored is not None
        self.highest = None if stored is None else fit(stored, self._dtype, timezone, self.column)
        self.floor = start(settings, self._dtype, stored, timezone)

    def apply(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, int, pl.DataFrame | None]:
        """The rows above the floor, how many were not, and rejections of those without a value (which stay)."""
        values = rows[self.column].cast(self._dtype)
        if self._dtype == pl.String:
            self._refuse_numbers(rows, values)
        top = _python(values.drop_nans().max() if self._dtype.is_float() else values.max())
        if top is not None and (self.highest is None or top > self.highest):  # type: ignore[operator]
            self.highest = top
        failed = None
        if values.null_count():
            failed = reject(
                rows, values.is_null(), "missing_cursor", self.column, f"the cursor's column '{self.column}' is null"
            )
        if not self._filters or self.floor is None:
            return rows, 0, failed
        floor = pl.Series([self._fitting(self.floor)], dtype=self._dtype)
        if self._query and self._dtype == pl.String and (values < floor).any():
            self._refuse_order(rows, values < floor)
        taken = (values >= floor if self._reaches else values > floor).fill_null(value=True)
        kept = rows.filter(taken)
        return kept, rows.height - kept.height, failed

    def _fitting(self, floor: CursorValue) -> CursorValue:
        """`floor` without digits that the column has no room for; no other value lies above it, or not below."""
        if not isinstance(self._dtype, pl.Decimal) or not isinstance(floor, Decimal):
            return floor
        return floor.quantize(Decimal(1).scaleb(-self._dtype.scale), ROUND_CEILING if self._reaches else ROUND_FLOOR)

    def _refuse_numbers(self, rows: pl.DataFrame, values: pl.Series) -> None:
        """Refuse numbers as text where they come in another order than as numbers: 100, then 99."""
        numeric = values.str.contains(_NUMBER)
        if not numeric.any():
            return
        bounds = pl.Series([text for text in (self.highest, self.floor) if isinstance(text, str)], dtype=pl.String)
        numbers = pl.concat([values.filter(numeric).unique(), bounds.filter(bounds.str.contains(_NUMBER))]).sort()
        if not numbers.cast(pl.Float64).is_sorted():
            first = rows.filter(numeric).row(0, named=True)
            raise SourceError(
                f"row {first[ROW]}: the cursor's column '{self.column}' is text and holds numbers, here "
                f"{first[self.column]}; text is compared by its bytes, so that 100 comes before 99. Write "
                f"`types: {{{self.column}: integer}}` under `source:`; in a query, CAST it"
            )

    def _refuse_order(self, rows: pl.DataFrame, below: pl.Series) -> None:
        first = rows.filter(below).row(0, named=True)
        raise SourceError(
            f"row {first[ROW]}: to the database '{first[self.column]}' comes after the cursor '{self.floor}', but text "
            "is compared by its bytes here. Compare it so in the query, too (PostgreSQL: "
            f'{self.column} COLLATE "C" > :cursor), or take a column of numbers or times'
        )


def start(settings: Cursor, dtype: pl.DataType, stored: CursorValue | None, timezone: str | None) -> CursorValue | None:
    """Where to start: the stored value less the lag, else `initial`, else None. Typed as `dtype` needs it."""
    if stored is not None:
        value = fit(stored, dtype, timezone, settings.column)
        return value if settings.lag is None else _less(value, settings.lag, settings.column)
    return None if settings.initial is None else fit(settings.initial, dtype, timezone, settings.column)


def fit(value: CursorValue, dtype: pl.DataType, timezone: str | None, column: str) -> CursorValue:
    """`value` as the Python object that a column of `dtype` holds. Raises SourceError where it cannot be one."""
    wrong = SourceError(f"the cursor's value '{value}' does not fit the column '{column}'; expected {_expected(dtype)}")
    if dtype == pl.String:
        return str(value)
    if isinstance(dtype, pl.Datetime):
        return _time(value, dtype, timezone, wrong)
    if dtype == pl.Date:
        try:
            return value if type(value) is date else date.fromisoformat(str(value))
        except ValueError:
            raise wrong from None
    if isinstance(value, (date, bool)):
        raise wrong
    try:
        number = Decimal(str(value))
        if dtype.is_integer():
            if number != int(number):
                raise wrong
            return int(number)
        return float(number) if dtype.is_float() else number
    except (InvalidOperation, ValueError, OverflowError):
        raise wrong from None


def _expected(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Datetime):
        return "a time without a zone, such as 2026-03-01T02:00:00" if dtype.time_zone is None else _MOMENT
    if dtype == pl.Date:
        return "a date, such as 2026-03-01"
    return "an integer" if dtype.is_integer() else "a number"


_MOMENT = "a time with its zone, such as 2026-03-01T02:00:00Z"


def _time(value: CursorValue, dtype: pl.Datetime, timezone: str | None, wrong: SourceError) -> datetime:
    if isinstance(value, datetime):
        time = value
    elif isinstance(value, date):
        time = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - its zone is looked for below
    else:
        text = pl.Series([str(value)])
        try:
            parsed = convert.to_time(text, timezone=None).values[0]
        except convert.TimeWithoutZone:
            parsed = convert.to_time(text, timezone="UTC").values.dt.replace_time_zone(None)[0]
        except LoaderError:
            raise wrong from None
        if not isinstance(parsed, datetime):
            raise wrong
        time = parsed
    if (time.tzinfo is None) == (dtype.time_zone is None):
        return time if time.tzinfo is None else _utc(time)
    if timezone is None:
        here, there = ("no zone", "one") if time.tzinfo is None else ("a zone", "none")
        raise SourceError(
            f"the cursor's value '{value}' has {here}, its column has {there}; name the zone with `timezone:`"
        )
    if time.tzinfo is None:
        return _utc(time.replace(tzinfo=ZoneInfo(timezone)))
    return time.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC)


def _less(value: CursorValue, lag: float, column: str) -> CursorValue:
    if isinstance(value, datetime):
        return value - timedelta(seconds=lag)
    if isinstance(value, date):
        return value - timedelta(days=ceil(lag / 86_400))
    if isinstance(value, int):
        return value - ceil(lag)
    if isinstance(value, Decimal):
        return value - Decimal(str(lag))
    if isinstance(value, float):
        return value - lag
    if not lag:
        return value
    raise SourceError(f"`lag` needs a cursor of times or numbers; the column '{column}' holds text, which can have 0")


def _python(value: object) -> CursorValue | None:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return _utc(value)
    return value  # type: ignore[return-value]
