"""The checkpoint: the durable record of runs, chunks, tokens, rejections and cursors, one SQLite file per mapping.

    meta          version, mapping                     one row; a newer version is refused, never guessed at
                  `mapping`: the path of the file, so that no other one uses its state
    runs          run, of, mapping, mapping_digest, created, finished, status, rows_read, rows_filtered,
                  rows_rejected, events, plan_digest, seconds, again
                  `of`: the run whose refused events this one sends again; null where the rows were read from the source
    destinations  run, destination, provider, route, in_doubt, position, events, already_delivered, rejected, bytes
                  what the plan found for one destination
    chunks        run, destination, start, number, events, part, first_row, last_row, status, doubted, attempts,
                  refused, token, message, changed
                  `start` is the position of the chunk's first event in the destination's plan, from 0; `first_row` and
                  `last_row` are the lowest and the highest of its rows. Halving replaces a chunk by two of the same
                  number. `attempts`: the requests that left with it; a right half begins anew, so that those of all
                  chunks are the requests of the run. `doubted`: it was in doubt at least once, so that its events may
                  have arrived whatever became of it later.
    refusals      run, destination, row, reason, message, retried, written
                  events that were rejected after the plan was made; `retried`: the run that sends them again, or null;
                  `written`: the file to which their rows were written, to be loaded from there, or null
    planned       run, destination, reason, count                rejections of the plan, counted (destination '': rows),
                  and those of events whose part was lost
    files         destination, digest, path, size, mtime_ns, inode, run, first_row, rows     files that were loaded
                  of a remote one `inode` is made of its ETag, and `size` is -1 where its server does not say
    ids           destination, id, run, row                      `event.id`s that a plan took, until they are rejected
    cursors       number, run, column, value, changed            where the cursor was moved to, the last row counts
                  `run`: the plan that moved it, null where somebody set it
                  `value`: see `settings.cursor_to_text`, null where it was forgotten
    endings       run, at, exit, message                         how the last command that sends ended, and the last
                  one that delivered a run; `run`: '' for the first
                  `exit`: null before it ends, `message`: what stopped it, or null

What a run with `--again` loads has a row of its own in `files` and `ids`, beside those of the runs before: dropping it
leaves them as they were.

A chunk's status:

    pending ──► sending ──► sent        the intent is durable before the request leaves, the receipt after the answer
       ▲           ├──────► rejected    by the provider, as too old, skipped or cancelled: see `refusals`
       └───────────┤                    (an answer that says "not taken" makes it pending again)
                   └──────► in_doubt    no answer was read; also what `sending` means when no process holds the state

Writes are transactions with `synchronous=FULL`. While events are sent, `sending.journal` collects what is to be
written in a moment into one transaction. Built with SQLAlchemy Core; nothing in the schema
is SQLite's own.
"""

from loader.checkpoint.database import translated
from loader.checkpoint.record import DOUBTED, FINISHED, PAGE, Checkpoint, Pending, left_to_retry
from loader.checkpoint.tables import (
    VERSION,
    Row,
    chunks,
    cursors,
    destinations,
    endings,
    files,
    ids,
    meta,
    planned,
    refusals,
    runs,
)

__all__ = [
    "DOUBTED",
    "FINISHED",
    "PAGE",
    "VERSION",
    "Checkpoint",
    "Pending",
    "Row",
    "chunks",
    "cursors",
    "destinations",
    "endings",
    "files",
    "ids",
    "left_to_retry",
    "meta",
    "planned",
    "refusals",
    "runs",
    "translated",
]
