"""JSON lines: one object a line; nested values stay nested.

The files are read twice: once to prove a type for each column over all rows, so that no later row breaks a frame, and
once for the rows. A key that a row does not have, and a key that is null, are both null; of a key that a line has twice
the last one counts. A column that holds, say, numbers and text is an error with a way out: `types: {column: text}`.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from typing import Any

import polars as pl

from loader import rejection
from loader.errors import SourceError
from loader.jsontype import holds_json
from loader.settings import CursorValue, JsonlSettings
from loader.sources import files, json_shape
from loader.sources.base import Frame, Input, Rejects, check_names, numbered, printable, sizes
from loader.sources.cursor import Watch
from loader.sources.json_shape import Shape
from loader.sources.typed import Finish, dtype_of, text_scale, wanted_types

# A colon that stands apart from its key makes the keys of a block uncountable.
_LOOSE = (b'" :', b'"\t:', b'"\r:')


class JsonlSource:
    """A `Source` of JSON lines; see `open_source`."""

    def __init__(
        self,
        settings: JsonlSettings,
        inputs: Sequence[Input],
        *,
        timezone: str | None,
        cursor: CursorValue | None,
        used: Collection[str] | None,
    ) -> None:
        self.inputs = list(inputs)
        if used is not None and settings.cursor is not None:
            used = {*used, settings.cursor.column}
        root = Shape()
        # Blocks (path, first line) that polars may read: nothing in them that it would read otherwise.
        self._plain: set[tuple[str, int]] = set()
        scales = dict.fromkeys((name for name, kind in settings.types.items() if kind == "decimal"), 0)
        row = 0
        for file in self.inputs:
            row = self._prove(file, row, root, scales)
        self._shapes = root.members
        check_names(list(self._shapes), self.inputs[0].path, "rename it in the file")
        self._types = wanted_types(settings.types, self._shapes, used, self.inputs[0].path)
        self._raw = {name: self._dtype(name, shape, used) for name, shape in self._shapes.items()}
        self.columns = dict(self._raw)
        self.columns |= {name: dtype_of(kind, scales.get(name, 0)) for name, kind in self._types.items()}
        self._watch = (
            None if settings.cursor is None else Watch(settings.cursor, self.columns, cursor, timezone, filters=True)
        )
        self._finish = Finish(self.columns, self._types, timezone, self._watch)

    @property
    def cursor(self) -> CursorValue | None:
        """The highest value seen of the cursor's column."""
        return None if self._watch is None else self._watch.highest

    def close(self) -> None:
        """Nothing is held open."""

    def frames(self, inputs: Sequence[Input] | None = None) -> Generator[Frame, None, None]:
        """See `Source`."""
        row = 1
        exact = any(map(holds_json, self._raw.values())) or any(map(self._needs_text, self._types))
        for file in self.inputs if inputs is None else inputs:
            for block, line in files.line_blocks(file):
                rows = None if exact or (file.path, line) not in self._plain else self._fast(block)
                rejects = Rejects()
                rows = self._slowly(block, line, row, rejects) if rows is None else numbered(rows, None, row)
                count = rows.height + len(rejects)
                rejected, records = rejects.frames()
                for offset, length in sizes(count) if count else ():
                    first, last = row + offset, row + offset + length - 1
                    bad = pl.col("row").is_between(first, last)
                    yield self._finish.frame(
                        rows.filter(pl.col(rejection.ROW).is_between(first, last)),
                        rejected.filter(bad) if len(rejects) else None,
                        records.filter(bad) if len(rejects) else None,
                        file,
                    )
                row += count

    def _prove(self, file: Input, row: int, root: Shape, scales: dict[str, int]) -> int:
        """Take in the shapes of all values of `file`, whose first row follows `row`; returns the number of its last."""
        for block, first in files.line_blocks(file):
            plain = not any(loose in block for loose in _LOOSE)
            keys = 0
            for offset, value, _ in json_shape.objects(block):
                row += 1
                if isinstance(value, ValueError):
                    plain = False
                    continue
                keys += root.see(value, (row, first + offset, file.path))
                for name, scale in scales.items():
                    scales[name] = max(scale, text_scale(json_shape.text(value.get(name)) or ""))
            # As many keys as there are in the objects that were read: no key stands twice in one.
            if plain and block.count(b'":') == keys:
                self._plain.add((file.path, first))
        return row

    def _dtype(self, name: str, shape: Shape, used: Collection[str] | None) -> pl.DataType:
        if name in self._types:
            if self._needs_text(name):
                return pl.String()
            return (
                pl.Float64() if self._types[name] == "number" and shape.kinds.keys() <= {int, float} else shape.dtype()
            )
        conflict = shape.conflict()
        if conflict is not None and (used is None or name in used):
            raise SourceError(
                f"the column '{name}' holds {conflict}; "
                f"write `types: {{{name}: text}}` under `source:` to take all as text"
            )
        return shape.dtype()

    def _needs_text(self, name: str) -> bool:
        """Whether a column of `types:` is converted from the text in the file, not from a polars type."""
        kinds = set(self._shapes[name].kinds)
        if self._types[name] == "number" and kinds <= {int, float}:
            return False
        return not (kinds <= {int} or kinds <= {str} or kinds <= {bool})

    def _fast(self, block: bytes) -> pl.DataFrame | None:
        if not self._raw:
            return None
        try:
            rows = pl.read_ndjson(block, schema=self._raw)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return None
        return rows if rows.height == block.count(b"\n") + (not block.endswith(b"\n")) else None

    def _slowly(self, block: bytes, first: int, row: int, rejects: Rejects) -> pl.DataFrame:
        good: list[dict[str, Any]] = []
        numbers: list[int] = []
        for offset, value, line in json_shape.objects(block):
            if isinstance(value, ValueError):
                raw = line.decode("utf-8", "surrogateescape").rstrip("\r")
                whole = raw == printable(raw)
                reason, what = ("bad_json", f"not a JSON object: {value}") if whole else ("bad_encoding", "not utf-8")
                rejects.add(row, reason, f"line {first + offset}: {what}", raw, value=raw)
            else:
                good.append(value)
                numbers.append(row)
            row += 1
        columns = [self._column(name, [value.get(name) for value in good]) for name in self._raw]
        return numbered(pl.DataFrame(columns), pl.Series(numbers, dtype=pl.UInt64), row)

    def _column(self, name: str, values: list[Any]) -> pl.Series:
        dtype = self._raw[name]
        if name in self._types and self._needs_text(name):
            return pl.Series(name, [json_shape.text(value) for value in values], pl.String)
        if name in self._types and dtype == pl.Float64:
            return pl.Series(name, [None if value is None else float(value) for value in values], pl.Float64)
        return json_shape.series(name, values, dtype)
