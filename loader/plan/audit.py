"""The checkpoint against the plan on disk: what is counted as sent is what was planned.

Numbers of the checkpoint can be wrong and still add up. The parts of the plan were written once, and tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import polars as pl

from loader.checkpoint import Checkpoint
from loader.errors import DoesNotAddUp, StateError
from loader.plan.parts import open_part, part_path

# Part, number, start, events and refused events of a chunk, see `Checkpoint.chunk_numbers`.
_Chunk = tuple[int, ...]


def audit(checkpoint: Checkpoint, run: str, run_folder: Path) -> None:
    """Compare the chunks, rejections and ids of a run with its plan. Raises DoesNotAddUp with the numbers.

    Parts that are pruned or lost are left out: where events of a lost one are still to be sent, sending says so.
    """
    for planned in checkpoint.destinations_of(run):
        name = planned["destination"]
        refusals = pl.Series([row["row"] for row in checkpoint.refusals_of(run, name)], dtype=pl.Int64)
        behind, refused, with_id, whole = 0, 0, 0, True
        for part, rows in groupby(checkpoint.chunk_numbers(run, name), key=itemgetter(0)):
            chunks, where = list(rows), f"run {run}, {name}, part {part}"
            behind = _follow(chunks, behind, where)
            refused += sum(chunk[4] for chunk in chunks)
            events = _events(run_folder, name, part)
            if events is None:
                whole = False
                continue
            with_id += int(events.get_column("id").count())
            try:
                _same(chunks, events, refusals, where)
            except DoesNotAddUp:
                if _is_whole(run_folder, name, part):
                    raise
                whole = False
        # What was dropped of a part that was lost is counted without its rows.
        taken = checkpoint.ids_taken(run, name)
        if whole and refused == len(refusals) and not with_id - refused <= taken <= with_id:
            raise DoesNotAddUp(
                f"run {run}, {name}: {with_id} events have an id and {refused} are rejected, but {taken} ids are taken"
            )


def _events(run_folder: Path, destination: str, part: int) -> pl.DataFrame | None:
    """`chunk`, `row` and `id` of a part's events, or None where it is lost."""
    try:
        # Without its checksum, for which all of it would have to be read; see `_is_whole`.
        return pl.read_parquet(part_path(run_folder, destination, part), columns=["chunk", "row", "id"])
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def _is_whole(run_folder: Path, destination: str, part: int) -> bool:
    try:
        open_part(run_folder, destination, part)
    except StateError:
        return False
    return True


def _follow(chunks: Sequence[_Chunk], behind: int, where: str) -> int:
    """Each chunk begins where the one before it ends, the first one behind so many events; where the last one ends."""
    for _, number, start, events, _ in chunks:
        if start != behind:
            raise DoesNotAddUp(
                f"{where}: chunk {number} begins with event {start}, but {behind} events stand before it"
            )
        behind += events
    return behind


def _same(chunks: Sequence[_Chunk], events: pl.DataFrame, refusals: pl.Series, where: str) -> None:
    """The chunks hold as many events as were planned, and as many rejected ones as are known by their rows."""
    counted, refused = Counter[int](), Counter[int]()
    for _, number, _, held, rejected in chunks:
        counted[number] += held
        refused[number] += rejected
    runs = events.get_column("chunk").rle().struct
    planned = dict(zip(runs.field("value"), runs.field("len"), strict=True))
    mine = pl.col("row").cast(pl.Int64).is_in(refusals.implode())
    known = events.filter(mine) if len(refusals) else events.clear()
    named = Counter(known.get_column("chunk"))
    for number in sorted({*counted, *planned}):
        if counted[number] != planned.get(number, 0):
            raise DoesNotAddUp(
                f"{where}: chunk {number} counts {counted[number]} events, but {planned.get(number, 0)} were planned"
            )
        if named[number] > refused[number]:
            raise DoesNotAddUp(
                f"{where}: chunk {number} counts {refused[number]} rejected events, but {named[number]} are known"
            )
