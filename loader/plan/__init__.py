"""The plan: events checked against the provider's limits, cut into chunks and staged on disk, before any is sent."""

from loader.plan.audit import audit
from loader.plan.background import beside, read_ahead
from loader.plan.budget import MaxRejected
from loader.plan.chunking import Room, chunk_ends
from loader.plan.cursors import ahead, later, standing
from loader.plan.encoding import LateEvents, encode
from loader.plan.expectations import hold_to
from loader.plan.parts import (
    PART_SCHEMA,
    RejectionWriter,
    open_part,
    read_rejections,
)
from loader.plan.planner import Planner, record_of
from loader.plan.pruning import prunable, prune, pruned
from loader.plan.restaging import restage
from loader.plan.rows import RowWriter, forget_rows, how_to_read, keep_files, kept_file, read_rows
from loader.plan.staging import Staged, Stager, by_user, keeps_users_together

__all__ = [
    "PART_SCHEMA",
    "LateEvents",
    "MaxRejected",
    "Planner",
    "RejectionWriter",
    "Room",
    "RowWriter",
    "Staged",
    "Stager",
    "ahead",
    "audit",
    "beside",
    "by_user",
    "chunk_ends",
    "encode",
    "forget_rows",
    "hold_to",
    "how_to_read",
    "keep_files",
    "keeps_users_together",
    "kept_file",
    "later",
    "open_part",
    "prunable",
    "prune",
    "pruned",
    "read_ahead",
    "read_rejections",
    "read_rows",
    "record_of",
    "restage",
    "standing",
]
