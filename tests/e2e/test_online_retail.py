"""8,373 real purchases, as messy as real data is: every event compared with an independent computation."""

from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from loader.sandbox import CREDENTIALS
from tests.support.project import Project, credentials
from tests.support.sandbox import RunningSandbox

MAPPINGS = Path(__file__).parent.parent.parent / "mappings"
LONDON = ZoneInfo("Europe/London")


def expected(path: Path) -> tuple[list[dict[str, Any]], Counter[str]]:
    """The events that the mapping promises, and the rejections by reason, read with the standard library alone."""
    events, rejected = [], Counter[str]()
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        columns = next(reader)
        for cells in reader:
            if len(cells) != len(columns):
                rejected["ragged_row"] += 1
                continue
            row = dict(zip(columns, cells, strict=True))
            if not row["CustomerID"]:
                rejected["missing_user"] += 1
                continue
            total = (int(row["Quantity"]) * Decimal(row["UnitPrice"])).quantize(Decimal("0.01"))
            properties = {
                "invoice": row["InvoiceNo"],
                "product": row["StockCode"],
                "description": row["Description"].strip(),
                "quantity": int(row["Quantity"]),
                "unit_price": Decimal(row["UnitPrice"]),
                "total": total,
                "country": row["Country"],
            }
            events.append(
                {
                    "user": row["CustomerID"].removesuffix(".0"),
                    "time": datetime.fromisoformat(row["InvoiceDate"]).replace(tzinfo=LONDON),
                    "properties": {key: value for key, value in properties.items() if value != ""},
                }
            )
    return events, rejected


def canonical(event: Any) -> str:
    return json.dumps(event, default=str, sort_keys=True)


@pytest.mark.parametrize("provider", ["bloomreach", "batch"])
def test_every_event(project: Project, stand_in: RunningSandbox, real_data: Path, provider: str) -> None:
    text = (MAPPINGS / f"online_retail_to_{provider}.yaml").read_text()
    own = credentials(provider, stand_in.url)
    names = {key: f"${{{provider.upper()}_{key.upper()}}}" for key in CREDENTIALS[provider]}
    assert all(name in text for key, name in names.items() if key in own and key != "provider")
    text = text.replace(f"provider: {provider}", f"provider: {provider}\n    base_url: {stand_in.url}")
    project.mapping_path.write_text(text)
    env = {name[2:-1]: str(own[key]) for key, name in names.items() if key in own}
    ended = project.run(env={**env, "ONLINE_RETAIL_CSV": str(real_data)})

    events, rejected = expected(Path(real_data))
    assert (ended.code, ended.json["status"]) == (3, "done")
    total = len(events) + rejected.total()
    assert total == 8_373
    assert ended.json["rows"] == {"read": total, "filtered": 0, "rejected": rejected.total(), "events": len(events)}
    assert ended.destination()["sent"] == len(events)

    arrived = stand_in.received_exactly(provider)
    if provider == "bloomreach":
        found = [command["command"]["data"] for command in arrived]
        wanted = [
            {
                "customer_ids": {"registered": event["user"]},
                "event_type": "purchase",
                "timestamp": int(event["time"].timestamp()),
                "properties": event["properties"],
            }
            for event in events
        ]
    else:
        found = [{"user": event["user"], **event["event"]} for event in arrived]
        wanted = [{"user": e["user"], "name": "ue.purchase", "attributes": e["properties"]} for e in events]
    assert Counter(map(canonical, found)) == Counter(map(canonical, wanted))

    rejects = project.loader("rejects", str(project.mapping_path), "--json")
    counted = Counter({group["reason"]: group["count"] for group in json.loads(rejects.out)["rejections"]})
    assert counted == rejected
