"""The rejections of a run from the two places that hold them: the plan on disk, and the checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from loader.checkpoint import Checkpoint
from loader.plan import read_rejections, record_of
from loader.plan.parts import REJECTION_SCHEMA
from loader.rejection import ROW
from loader.report.rejects import Example, first_of_each
from loader.rereading import rows_as_they_were
from loader.state import run_folder

# Reasons of rows that could not be read as rows; their record is what is known of them.
UNREADABLE = ("ragged_row", "bad_quotes", "bad_encoding", "bad_json")


def rejections_of(checkpoint: Checkpoint, folder: Path, run: str) -> pl.DataFrame:
    """All rejections of a run in source order: `rejection.SCHEMA`, `destination` (null: no event was made), `record`.

    The record of an event that was rejected after the plan was made is null here; `with_records` finds it.
    """
    after = pl.DataFrame(
        [
            {key: refusal[key] for key in ("row", "reason", "message", "destination")}
            for refusal in checkpoint.refusals_of(run)
        ],
        schema={key: REJECTION_SCHEMA[key] for key in ("row", "reason", "message", "destination")},
    )
    both = pl.concat([read_rejections(run_folder(folder, run)), after], how="diagonal")
    return both.sort("row", "destination", nulls_last=False, maintain_order=True)


def with_records(
    checkpoint: Checkpoint, folder: Path, run: str, rejected: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, pl.DataType]]:
    """`rejected` with the records that it lacks, and the source's columns as far as the plan tells them."""
    lacking = rejected.filter(pl.col("record").is_null()).get_column("row").unique()
    origin = checkpoint.origin(run)
    rows = rows_as_they_were(run_folder(folder, origin), checkpoint.files_of(origin), lacking)
    columns = {name: dtype for name, dtype in rows.schema.items() if name != ROW}
    found = record_of(rows) if len(rows) else pl.DataFrame(schema={"row": pl.UInt64(), "record": pl.String()})
    joined = rejected.join(found, on="row", how="left", suffix="_kept", maintain_order="left")
    return joined.with_columns(pl.coalesce("record", "record_kept").alias("record")).drop("record_kept"), columns


def examples_of(
    checkpoint: Checkpoint, folder: Path, run: str, rejected: pl.DataFrame
) -> dict[tuple[str, str], Example]:
    """Destination (or '') and reason → one rejection, with its file and its record."""
    chosen = first_of_each(rejected)
    shown = pl.DataFrame({"row": [example.row for example in chosen.values()]}, schema={"row": pl.UInt64()})
    records = dict(
        with_records(checkpoint, folder, run, shown.unique().with_columns(record=pl.lit(None, pl.String)))[
            0
        ].iter_rows()
    )
    files = checkpoint.files_of(checkpoint.origin(run))
    found = {}
    for key, example in chosen.items():
        file = next((f for f in files if f["first_row"] <= example.row < f["first_row"] + f["rows"]), None)
        found[key] = replace(
            example,
            record=example.record if example.record is not None else records.get(example.row),
            file=None if file is None else Path(file["path"]).name,
            row_in_file=None if file is None else example.row - file["first_row"] + 1,
        )
    return found
