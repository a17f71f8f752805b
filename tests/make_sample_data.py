"""Makes `sample_data/` again: `python tests/make_sample_data.py`. The same bytes each time."""

from __future__ import annotations

import csv
import json
import random
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

FOLDER = Path(__file__).parent.parent / "sample_data"
ORDERS = 1_200
PARIS = ZoneInfo("Europe/Paris")
COLUMNS = ["order_id", "customer_id", "email", "status", "tier", "amount_cents", "currency", "coupon", "paid_at"]


def orders() -> list[dict[str, Any]]:
    """Orders of a made-up shop: ids with leading zeros, open and refunded orders, coupons with quotes and accents."""
    chance = random.Random(20260301)
    coupons = ["", "", "", "spring26", "été-2026", 'say "hello"', "vip, gold"]
    moment = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
    made = []
    for number in range(1, ORDERS + 1):
        moment += timedelta(seconds=chance.randint(20, 1_800))
        customer = chance.randint(1, 300)
        status = chance.choices(["paid", "open", "refunded"], [8, 1, 1])[0]
        made.append(
            {
                "order_id": f"A-{number:06d}",
                "customer_id": f"{customer:05d}",
                "email": f" Customer{customer}@Example.com",
                "status": status,
                "tier": ["G", "S", "", "B"][customer % 4],
                "amount_cents": chance.randint(199, 49_999),
                "currency": "EUR",
                "coupon": chance.choice(coupons),
                "paid_at": moment.astimezone(PARIS).strftime("%Y-%m-%d %H:%M:%S") if status == "paid" else "",
            }
        )
    return made


def visits() -> list[dict[str, Any]]:
    """Page visits as a web shop logs them: nested, with a key that not every line has."""
    chance = random.Random(20260302)
    moment = datetime(2026, 3, 1, 7, 0, tzinfo=UTC)
    made = []
    for number in range(1, 801):
        moment += timedelta(milliseconds=chance.randint(200, 90_000))
        visit: dict[str, Any] = {
            "id": f"v{number}",
            "at": int(moment.timestamp() * 1000),
            "user": {"id": f"{chance.randint(1, 300):05d}", "country": chance.choice(["FR", "NO", "DE"])},
            "page": {"path": f"/p/{chance.randint(1, 40)}", "seconds": round(chance.uniform(0.5, 180), 1)},
            "labels": chance.sample(["new", "sale", "app", "web"], k=chance.randint(0, 2)),
        }
        if chance.random() < 0.3:
            visit["referrer"] = {"campaign": chance.choice(["newsletter", "search"]), "medium": "mail"}
        made.append(visit)
    return made


def main() -> None:
    """Write orders.csv, visits.jsonl and shop.db (SQLite, the orders again)."""
    FOLDER.mkdir(exist_ok=True)
    rows = orders()
    with (FOLDER / "orders.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with (FOLDER / "visits.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(visit, ensure_ascii=False) + "\n" for visit in visits())
    database = FOLDER / "shop.db"
    database.unlink(missing_ok=True)
    with sqlite3.connect(database) as connection:
        connection.execute(
            "CREATE TABLE orders (number INTEGER PRIMARY KEY, order_id TEXT, customer_id TEXT, status TEXT,"
            " amount_cents INTEGER, coupon TEXT, paid_at TEXT)"
        )
        connection.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    n,
                    r["order_id"],
                    r["customer_id"],
                    r["status"],
                    r["amount_cents"],
                    r["coupon"] or None,
                    r["paid_at"] or None,
                )
                for n, r in enumerate(rows, 1)
            ],
        )
    connection.close()


if __name__ == "__main__":
    main()
