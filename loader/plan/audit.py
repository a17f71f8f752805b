"""The checkpoint against the plan on disk: what is counted as sent is what was planned.

Numbers of the checkpoint can be wrong and still add up. The parts of the plan were written once, and tell.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from pathlib import Path

import polars as pl

from loader.checkpoint import Checkpoint
from loader.errors import DoesNotAddUp, StateError
from loader.plan.parts import open_part, part_path

_CHUNK = dict.fromkeys(("part", "number", "start", "events", "refused"), pl.Int64())


def audit(checkpoint: Checkpoint, run: str, run_folder: Path) -> None:
    """Compare the chunks, rejections and ids of a run with its plan. Raises DoesNotAddUp with the numbers.

    Parts that are pruned or lost are left out: where events of a lost one are still to be sent, sending says so.
    """
    for planned in checkpoint.destinations_of(run):
        name = planned["destination"]
        refusals = pl.Series([row["row"] for row in checkpoint.refusals_of(run, name)], dtype=pl.Int64)
        behind, refused, with_id, whole = 0, 0, 0, True
        for part, rows in groupby(checkpoint.chunk_numbers(run, name), key=itemgetter(0)):
            chunks = pl.DataFrame(list(rows), schema=_CHUNK, orient="row")
            where = f"run {run}, {name}, part {part}"
            _follow(chunks, behind, where)
            behind += int(chunks.get_column("events").sum())
            refused += int(chunks.get_column("refused").sum())
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
    """`number`, `row` and `id` of a part's events, or None where it is lost."""
    try:
        # Without its checksum, for which all of it would have to be read; see `_is_whole`.
        found = pl.read_parquet(part_path(run_folder, destination, part), columns=["chunk", "row", "id"])
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    return found.select(pl.col("chunk").cast(pl.Int64).alias("number"), pl.col("row").cast(pl.Int64), "id")


def _is_whole(run_folder: Path, destination: str, part: int) -> bool:
    try:
        open_part(run_folder, destination, part)
    except StateError:
        return False
    return True


def _follow(chunks: pl.DataFrame, behind: int, where: str) -> None:
    """Each chunk begins where the one before it ends."""
    begins = behind + chunks.get_column("events").cum_sum() - chunks.get_column("events")
    for number, start, begin in zip(chunks.get_column("number"), chunks.get_column("start"), begins, strict=True):
        if start != begin:
            raise DoesNotAddUp(f"{where}: chunk {number} begins with event {start}, but {begin} events stand before it")


def _same(chunks: pl.DataFrame, events: pl.DataFrame, refusals: pl.Series, where: str) -> None:
    """The chunks hold as many events as were planned, and as many rejected ones as are known by their rows."""
    by_number = chunks.group_by("number").agg(pl.col("events", "refused").sum())
    # Inside the groups polars would compare each of them with all rejections.
    known = events.with_columns(known=pl.col("row").is_in(refusals.implode()))
    on_disk = known.group_by("number").agg(planned=pl.len().cast(pl.Int64), known=pl.col("known").sum().cast(pl.Int64))
    both = by_number.join(on_disk, on="number", how="full", coalesce=True).fill_null(0).sort("number")
    for number, counted, refused, planned, named in both.iter_rows():
        if counted != planned:
            raise DoesNotAddUp(f"{where}: chunk {number} counts {counted} events, but {planned} were planned")
        if named > refused:
            raise DoesNotAddUp(f"{where}: chunk {number} counts {refused} rejected events, but {named} are known")
