"""drt: DuckDB opens the CSV as a table, a template makes the body of each thousand rows, the REST destination posts it.

This writes a project of drt to a temporary folder and becomes `drt run` there. Its rate limit is out of the way.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from tests.bench.peers.shapes import SHAPES

_TEMPLATE = """\
[{% for user, events in rows | groupby("user_id") %}{% if not loop.first %},{% endif %}\
{"id":{{ user | tojson_safe }},"events":[{% for row in events %}{% if not loop.first %},{% endif %}\
{"name":{{ ("ue." ~ row.event) | tojson_safe }},"time":{{ row.occurred_at | tojson_safe }}\
{% if row.label %},"label":{{ row.label | tojson_safe }}{% endif %}\
,"attributes":{"product":{{ row.product | tojson_safe }},"amount":{{ row.amount }},"quantity":{{ row.quantity }}\
{% if row.channel %},"channel":{{ row.channel | tojson_safe }}{% endif %}\
,"date(ordered_at)":{{ row.ordered_at | tojson_safe }}}\
{% if row.tags %},"tags":{{ row.tags.split("|") | tojson_safe }}{% endif %}}\
{% endfor %}]}{% endfor %}]"""


def write_project(folder: Path, provider: str, source: str, url: str) -> None:
    """A project of drt in `folder`, and the profile that it needs in `folder/.drt`."""
    shape = SHAPES[provider]
    columns = "{'amount': 'DOUBLE', 'quantity': 'BIGINT', 'occurred_at': 'TIMESTAMP', 'ordered_at': 'TIMESTAMP'}"
    model = f"SELECT * FROM read_csv('{source}', all_varchar = false, types = {columns})"
    sync = {
        "name": "events",
        "model": model,
        "destination": {
            "type": "rest_api",
            "url": url + shape.path,
            "headers": shape.headers,
            "body_mode": "batch",
            "batch_template": _TEMPLATE,
            "max_records_per_request": shape.size,
        },
        "sync": {
            "mode": "full",
            "batch_size": shape.size,
            "rate_limit": {"requests_per_second": 1e6},
            "on_error": "fail",
        },
    }
    # JSON is YAML, too.
    (folder / "syncs").mkdir()
    (folder / "syncs" / "events.yml").write_text(json.dumps(sync), encoding="utf-8")
    (folder / "drt_project.yml").write_text(json.dumps({"name": "bench", "profile": "bench"}), encoding="utf-8")
    (folder / ".drt").mkdir()
    profiles = {"bench": {"type": "duckdb", "database": ":memory:"}}
    (folder / ".drt" / "profiles.yml").write_text(json.dumps(profiles), encoding="utf-8")


def main() -> None:
    """Write the project beside the source, where it is thrown away with it, and become drt."""
    provider, source, url = sys.argv[1:4]
    folder = Path(tempfile.mkdtemp(prefix="drt-", dir=Path(source).parent))
    write_project(folder, provider, source, url)
    os.chdir(folder)
    os.environ |= {"HOME": str(folder), "DO_NOT_TRACK": "1"}
    os.execv(sys.executable, [sys.executable, "-c", "from drt.cli.main import app; app()", "run"])


if __name__ == "__main__":
    main()
