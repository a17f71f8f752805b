"""A mapping and the columns of its source → what turns each frame of rows into events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass

import polars as pl

from loader import jsontext
from loader.convert import TimeWithoutZone
from loader.errors import MappingError, Problem
from loader.jsontype import JSON, is_json
from loader.mapping import expressions
from loader.mapping.document import Document, Node
from loader.mapping.events import expression_node
from loader.mapping.isolate import evaluate
from loader.mapping.language import Destination, EventValue, Mapping, roots
from loader.mapping.models import Value
from loader.mapping.types import misfit, words
from loader.mapping.values import Failure, Options, describe, literal_type, texts
from loader.rejection import MAX_VALUE, ROW, empty, reject

_INT64 = 2**63


@dataclass(frozen=True)
class Kept:
    """`rows`: those that pass `where`, with all columns. `filtered`: how many fail it. `rejected`: see `rejection`."""

    rows: pl.DataFrame
    filtered: int
    rejected: pl.DataFrame


@dataclass(frozen=True)
class Mapped:
    """`events`: see `BoundDestination`. `rejected`: the rows that made no event (`rejection.SCHEMA`), in order."""

    events: pl.DataFrame
    rejected: pl.DataFrame


@dataclass(frozen=True)
class _Source:
    """Where a column of values comes from: an expression of known type, or a constant."""

    expression: pl.Expr
    dtype: pl.DataType
    sql: str | None
    json: bool = False


class _Bound:
    """A field with the columns it is made of."""

    def __init__(self, field: EventValue, sources: Sequence[_Source], timezone: str | None) -> None:
        self.field, self.sources = field, sources
        self.options = [Options(value, field.value_kind, field.name, timezone) for value in field.values]


def _constant(value: Value) -> _Source:
    const = value.const
    if isinstance(const, (list, dict)) and not (isinstance(const, list) and all(isinstance(v, str) for v in const)):
        return _Source(pl.lit(jsontext.literal(const)), pl.String(), None, json=True)
    if isinstance(const, int) and not -_INT64 <= const < _INT64:
        return _Source(pl.lit(str(const)), pl.String(), None, json=True)
    if isinstance(const, list):
        return _Source(pl.lit(const, pl.List(pl.String)), pl.List(pl.String), None)
    dtype = literal_type(const)
    return _Source(pl.lit(const, dtype), dtype, None)


class Bound:
    """A mapping that knows the columns of its source. `destinations`: in the order of the file."""

    def __init__(self, mapping: Mapping, where: _Bound | None, destinations: list[BoundDestination]) -> None:
        self.mapping, self.destinations, self._where = mapping, destinations, where

    def keep(self, rows: pl.DataFrame) -> Kept:
        """Sort out the rows of a frame (`ROW` UInt64 and the source's columns) by `where`. Null counts as false."""
        if self._where is None:
            return Kept(rows, 0, empty())
        [(values, failures)] = _compute(rows, [self._where], self.mapping.document)
        passed = values.fill_null(False)
        rejected, failed = _reject(rows, [(self._where.field, failures)])
        kept = rows.filter(passed)
        return Kept(kept, rows.height - kept.height - int(failed.sum() or 0), rejected)


class BoundDestination:
    """Makes a destination's events of rows.

    `columns`: those of a frame of events. `ROW` (UInt64) is first; the others stand in the order of the file, if they
    are mapped: `id`, `user`, `name` and `ids.<type>` String; `time` Datetime('us', 'UTC'); the provider's own fields
    String or List(String); `properties.<name>` of any type that `jsontext.value` takes, times in UTC. Customers have
    neither `id` nor `name` nor fields of the provider.
    """

    def __init__(self, mapping: Mapping, destination: Destination, fields: list[_Bound], schema: pl.Schema) -> None:
        self.destination = destination
        self._mapping, self._fields = mapping, fields
        self.columns: dict[str, pl.DataType] = dict(
            self.events(pl.DataFrame(schema={ROW: pl.UInt64(), **schema})).events.schema
        )

    def events(self, rows: pl.DataFrame) -> Mapped:
        """The events of a frame (`ROW` UInt64 and the source's columns). A row with bad fields is rejected once.

        Raises `MappingError` where a time carries no zone and the mapping names none.
        """
        columns = _compute(rows, self._fields, self._mapping.document)
        frame = pl.DataFrame(
            [
                rows.get_column(ROW).cast(pl.UInt64),
                *(v.alias(b.field.name) for b, (v, _) in zip(self._fields, columns, strict=True)),
            ]
        )
        found = [(b.field, failures) for b, (_, failures) in zip(self._fields, columns, strict=True) if failures]
        required = self._required(frame)
        if not found and not required:
            return Mapped(frame, empty())
        by_name = {b.field.name: b.field for b in self._fields}
        merged = {field.name: list(failures) for field, failures in found}
        for name, failures in required.items():
            merged.setdefault(name, []).extend(failures)
        ordered = [(by_name[name], merged[name]) for name in by_name if name in merged]
        rejected, failed = _reject(rows, ordered)
        return Mapped(frame.filter(~failed), rejected)

    @property
    def _time_is_never_sent(self) -> bool:
        window = self.destination.route.window
        return self.destination.settings.late_events == "omit_time" and window is not None and window.past is None

    def _required(self, frame: pl.DataFrame) -> dict[str, list[Failure]]:
        """Rows without a user, a name, a time or an id, where these are mapped."""
        found: dict[str, list[Failure]] = {}
        for bound in self._fields:
            name, sql = bound.field.name, bound.field.values[0].expr
            if name not in ("id", "user", "name", "time") or (name == "time" and self._time_is_never_sent):
                continue
            column = frame.get_column(name)
            checks = [(column.is_null(), "null")]
            if name != "time" and not _all_visible(column):
                checks.append((column.str.strip_chars().str.len_bytes() == 0, "blank"))
            if name == "id":
                # SQLite ends a text there, so that it would be taken for another.
                checks.append((column.str.contains("\0", literal=True), "not to be kept: it has a NUL character"))
            for mask, what in checks:
                if mask.any():
                    failure = Failure(mask.fill_null(False), f"missing_{name}", f"{name}{describe(sql)} is {what}")
                    found.setdefault(name, []).append(failure)
        ids = [bound for bound in self._fields if bound.field.name.startswith("ids.")]
        if ids and "user" not in frame.columns:
            blank = [frame.get_column(b.field.name).str.strip_chars().fill_null("").str.len_bytes() == 0 for b in ids]
            nobody = blank[0]
            for mask in blank[1:]:
                nobody = nobody & mask
            if nobody.any():
                names = " and ".join(b.field.name + describe(b.field.values[0].expr) for b in ids)
                who = f"the {self.destination.event.kind} has no user"
                failure = Failure(nobody, "missing_user", f"{who}: {names} {'are' if len(ids) > 1 else 'is'} null")
                found.setdefault(ids[0].field.name, []).append(failure)
        return found


def _all_visible(column: pl.Series) -> bool:
    """Whether each text begins with an ASCII character that is not blank; looking for blank ones takes longer."""
    lowest, highest = column.min(), column.max()
    return isinstance(lowest, str) and isinstance(highest, str) and "!" <= lowest <= highest < "\x7f"


Column = tuple[pl.Series, list[Failure]]


def _compute(rows: pl.DataFrame, fields: Sequence[_Bound], document: Document) -> list[Column]:
    """Each field's column over `rows`, all expressions in one pass."""
    rows = _unwrapped(rows)
    sources = [source for bound in fields for source in bound.sources]
    selection = [source.expression.alias(str(number)) for number, source in enumerate(sources)]
    computed: Iterator[tuple[pl.Series, pl.Series | None]]
    try:
        selected = rows.select(pl.col(ROW).alias(""), *selection)
        computed = iter([(series, None) for series in selected.drop("").iter_columns()])
    except expressions.FAILURES:
        computed = iter([_one_by_one(rows, source) for source in sources])
    columns: list[Column] = []
    for bound in fields:
        failures: list[Failure] = []
        parts = []
        for source, options, node in zip(bound.sources, bound.options, bound.field.nodes, strict=True):
            series, causes = next(computed)
            if causes is not None:
                failures.extend(_not_computable(rows, bound.field.name, source.sql or "", causes))
            if source.json:
                parts.append(series.ext.to(JSON) if bound.field.kind == "property" else series)
                continue
            if options.kind == "list":
                parts.append(texts(series))
                continue
            try:
                values, found = options.apply(series)
            except TimeWithoutZone as error:
                raise _without_zone(error, rows, series, document, node) from None
            failures.extend(found)
            parts.append(values)
        columns.append((_list(parts) if bound.field.members else parts[0], failures))
    return columns


def _unwrapped(rows: pl.DataFrame) -> pl.DataFrame:
    """JSON columns as their text: SQL computes with that."""
    wrapped = [name for name, dtype in rows.schema.items() if is_json(dtype)]
    return rows.with_columns(pl.col(name).ext.storage() for name in wrapped) if wrapped else rows


def _list(parts: list[pl.Series]) -> pl.Series:
    """Texts side by side as one list for each row, without nulls; a list without members is null."""
    frame = pl.DataFrame([part.alias(str(number)) for number, part in enumerate(parts)])
    members = pl.concat_list(pl.all()).list.drop_nulls()
    return frame.select(pl.when(members.list.len() > 0).then(members)).to_series()


def _one_by_one(rows: pl.DataFrame, source: _Source) -> tuple[pl.Series, pl.Series | None]:
    if source.sql is None or is_json(source.dtype):
        return rows.select(pl.col(ROW).alias(""), source.expression.alias("value")).to_series(1), None
    evaluated = evaluate(rows, source.sql, source.dtype)
    return evaluated.values, evaluated.causes


def _not_computable(rows: pl.DataFrame, name: str, sql: str, causes: pl.Series) -> list[Failure]:
    """One failure for each cause; the value shows what the expression was computed from."""
    expression = expressions.parse(sql)[0]
    used = list(dict.fromkeys(expression.meta.root_names())) if expression is not None else []
    shown = [pl.concat_str(pl.lit(f"{column}="), _shown(pl.col(column), rows.schema[column])) for column in used]
    value = rows.select(pl.concat_str(shown, separator=", ") if shown else pl.lit(None, pl.String)).to_series()
    if not shown:
        value = value.new_from_index(0, rows.height)
    text = describe(sql)[2:-1]
    return [
        Failure(
            (causes == cause).fill_null(False),
            "not_computable",
            f"{name}: {text} cannot be computed for {{value}}: {cause}",
            value,
        )
        for cause in causes.drop_nulls().unique(maintain_order=True)
    ]


def _shown(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        quoted = pl.concat_str(pl.lit("'"), column.cast(pl.String).str.slice(0, MAX_VALUE), pl.lit("'"))
    elif dtype.is_nested() or isinstance(dtype, (pl.Binary, pl.Object, pl.BaseExtension)):
        quoted = pl.lit("…")
    else:
        quoted = column.cast(pl.String)
    return pl.when(column.is_null()).then(pl.lit("null")).otherwise(quoted)


def _reject(rows: pl.DataFrame, found: Sequence[tuple[EventValue, list[Failure]]]) -> tuple[pl.DataFrame, pl.Series]:
    """Rejections for the failures of fields in the order of the file, each row once; and which rows they are."""
    failed = pl.Series([False]).new_from_index(0, rows.height)
    rejected = []
    for field, failures in found:
        for failure in failures:
            new = failure.mask & ~failed
            if not new.any():
                continue
            value = (
                failure.value
                if failure.value is not None
                else pl.Series([None], dtype=pl.String).new_from_index(0, rows.height)
            )
            frame = pl.DataFrame([rows.get_column(ROW), value.alias("value")])
            rejected.append(reject(frame, new, failure.reason, field.name, failure.message, pl.col("value")))
            failed = failed | new
    return (pl.concat(rejected).sort("row") if rejected else empty()), failed


def _without_zone(
    error: TimeWithoutZone, rows: pl.DataFrame, series: pl.Series, document: Document, node: Node
) -> MappingError:
    row = rows.get_column(ROW).filter((series.cast(pl.String) == error.value).fill_null(False)).head(1).to_list()
    at = f"row {row[0]}: " if row else ""
    return MappingError([Problem(document.file, node.line, node.column, f"{at}{error}")])


def bind(mapping: Mapping, columns: AbstractMapping[str, pl.DataType]) -> Bound:
    """Tie `mapping` to the `columns` of its source. Raises `MappingError` with all that does not fit."""
    return _Binder(mapping, columns).bind()


class _Binder:
    def __init__(self, mapping: Mapping, columns: AbstractMapping[str, pl.DataType]) -> None:
        self.mapping = mapping
        self.columns = dict(columns)
        self.document = Document(mapping.document.file, mapping.document.text, mapping.document.root)

    def bind(self) -> Bound:
        mapping, document = self.mapping, self.document
        where = None
        if mapping.where is not None:
            where = self._bound(mapping.where, check=False)
            if where is not None and where.sources[0].dtype != pl.Boolean:
                found = words(where.sources[0].dtype)
                document.problem(mapping.where.node, f"`where` is a condition, found {found}; such as status = 'paid'")
        cursor = mapping.source.cursor
        if cursor is not None and cursor.column not in self.columns:
            close = expressions.near(cursor.column, self.columns)
            hint = f"; did you mean '{close}'?" if close else ""
            document.problem(document.find(("source", "cursor", "column")), f"no column '{cursor.column}'{hint}")
        fields = [(destination, self._fields(destination)) for destination in mapping.destinations]
        document.stop()
        schema = pl.Schema(self.columns)
        bound = [
            BoundDestination(mapping, destination, [f for f in found if f is not None], schema)
            for destination, found in fields
        ]
        for one in bound:
            self._provider_problems(one)
        document.stop()
        return Bound(mapping, where, bound)

    def _fields(self, destination: Destination) -> list[_Bound | None]:
        event = destination.event
        fields = list(event.fields)
        if event.all_columns is not None:
            used = roots(fields)
            for name in self.columns:
                if name not in used and name != ROW:
                    value = Value(expr='"' + name.replace('"', '""') + '"')
                    fields.append(EventValue(f"properties.{name}", "property", (value,), (event.all_columns,)))
        return [self._bound(field) for field in fields]

    def _bound(self, field: EventValue, check: bool = True) -> _Bound | None:
        kind = field.value_kind
        sources = []
        for value, node in zip(field.values, field.nodes, strict=True):
            source = self._source(field, value, node)
            if source is None:
                continue
            found = misfit(value, kind, source.dtype, self.mapping.timezone) if check and not source.json else None
            if found is not None:
                option, message = found
                self.document.problem(node.get(option) or node, f"{field.name}: {message}")
                continue
            sources.append(source)
        return _Bound(field, sources, self.mapping.timezone) if len(sources) == len(field.values) else None

    def _source(self, field: EventValue, value: Value, node: Node) -> _Source | None:
        if value.expr is None:
            return _constant(value)
        expression, findings = expressions.parse(value.expr)
        at = expression_node(node)
        if expression is not None:
            findings = expressions.unknown_columns(value.expr, expression, self.columns)
        for finding in findings:
            self.document.problem_in(at, finding.part, finding.offset, finding.message)
        if expression is None or findings:
            return None
        if expression.meta.is_column():
            dtype = self.columns[column := expression.meta.output_name()]
            if is_json(dtype):
                return _Source(pl.col(column).ext.to(JSON), JSON, value.expr)
            return _Source(expression, dtype, value.expr)
        # Only the columns that it uses: a source may have thousands.
        given = {name: self.columns[name] for name in expression.meta.root_names()}
        plain = {name: pl.String() if is_json(dtype) else dtype for name, dtype in given.items()}
        found, why = expressions.type_of(expression, plain)
        if found is None:
            self.document.problem(at, f"{field.name}: {why}")
            return None
        return _Source(expression, found, value.expr)

    def _provider_problems(self, bound: BoundDestination) -> None:
        """What the provider can never be sent with these columns."""
        nodes = {one.field.name: one.field.node for one in bound._fields}
        for column, message in bound.destination.route.problems(bound.columns):
            self.document.problem(nodes.get(column, bound.destination.node), f"{column}: {message}")
