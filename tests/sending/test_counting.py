"""What a run's chunks count to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.sending.support import NAME, RUN, staged


def test_chunks_are_counted_without_sorting_them(tmp_path: Path) -> None:
    """Of a million chunks sorting takes four times as long as counting, and each command that sends counts often."""
    statuses = ["pending", "sending", "sent", "sent", "in_doubt", "rejected"]
    counts = {"attempts": 2, "refused": 1}
    kept = staged(tmp_path, [{"events": 4, "status": status, **counts} for status in statuses])
    asked: list[tuple[str, Any]] = []
    sa.event.listen(kept.engine, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
    events = {"pending": 3, "sending": 3, "sent": 6, "in_doubt": 3, "rejected": 3}
    assert kept.events_by_status(RUN) == {NAME: {**events, "refused": 6, "chunks": 6, "requests": 12, "tokens": 0}}
    [(query, values)] = asked
    with kept.reading() as connection:
        steps = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values)]
    assert steps
    assert not any("B-TREE" in step for step in steps)
