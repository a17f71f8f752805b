"""Makes `sample_data/` again: `python tests/make_sample_data.py`. The same bytes each time."""

from __future__ import annotations

import csv
import hashlib
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


def carts() -> list[dict[str, Any]]:
    """Carts of the shop: ids that are mail addresses, devices without a customer, carts that were ordered."""
    chance = random.Random(20260303)
    moment = datetime(2026, 3, 1, 7, 0, tzinfo=UTC)
    names = ["zoé+shop", "o'neil", "a/b", "100%", "maría", "li.wei", "dupont&fils", "00042"]
    made = []
    for number in range(1, 161):
        moment += timedelta(seconds=chance.randint(30, 900))
        known = chance.random() < 0.7
        items = chance.randint(1, 6)
        made.append(
            {
                "cart_id": f"C-{number:05d}",
                "customer_id": f"{chance.choice(names)}@example.com" if known else "",
                "device_token_hash": hashlib.sha256(f"device {chance.randint(1, 60)}".encode()).hexdigest(),
                "status": chance.choices(["abandoned", "ordered"], [4, 1])[0],
                "items": items,
                "value": f"{items * chance.randint(500, 9_999) / 100:.2f}",
                "product": chance.choice(["Lampe d'été", 'Shelf 80"', "Tea, green", "Käsemesser"]),
                "last_change": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )
    return made


def signups() -> list[dict[str, Any]]:
    """Sign-ups, with the cookie that the visitor had before."""
    chance = random.Random(20260304)
    moment = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)
    made = []
    for number in range(1, 91):
        moment += timedelta(seconds=chance.randint(60, 1_200))
        made.append(
            {
                "customer_id": f"{300 + number:05d}",
                "cookie": f"{chance.getrandbits(64):016x}" if chance.random() < 0.8 else "",
                "plan": chance.choice(["free", "plus", "pro"]),
                "source": chance.choice(["newsletter", "search", "friend", ""]),
                "newsletter": chance.choice(["yes", "no"]),
                "signed_up_at": moment.astimezone(PARIS).strftime("%d/%m/%Y %H:%M:%S"),
            }
        )
    return made


def customers() -> list[dict[str, Any]]:
    """Profiles of customers: names in many letters, empty cells, numbers of members that begin with zeros."""
    chance = random.Random(20260305)
    names = ["Zoé", "Ólafur", "李伟", "Nuria", "O'Neil", ""]
    made = []
    for number in range(1, 151):
        changed = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=chance.randint(0, 2_000_000))
        made.append(
            {
                "customer_id": f"{number:05d}",
                "email": f" Customer{number}@Example.com",
                "first_name": chance.choice(names),
                "tier": ["G", "S", "", "B"][number % 4],
                "points": chance.choice(["", "0", "120", "9007199254740993"]),
                "member_number": f"{chance.randint(1, 999_999):010d}",
                "newsletter": chance.choice(["yes", "no", ""]),
                "changed_at": changed.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            }
        )
    return made


def app() -> list[dict[str, Any]]:
    """What a mobile app's backend logs: visits with the address and the user agent of the device, nobody logged in."""
    chance = random.Random(20260306)
    moment = datetime(2026, 3, 1, 7, 0, tzinfo=UTC)
    devices = ["ShopApp/5.2 (iPhone; iOS 19.1)", "ShopApp/5.1 (Pixel 9; Android 16)", "Mozilla/5.0 (X11; Linux x86_64)"]
    made = []
    for number in range(1, 201):
        moment += timedelta(milliseconds=chance.randint(200, 60_000))
        name = chance.choices(["app_open", "screen_view", "add_to_cart"], [1, 5, 2])[0]
        line: dict[str, Any] = {
            "event": name,
            "user": f"{chance.randint(1, 40):05d}" if chance.random() < 0.9 else None,
            "at": moment.astimezone(PARIS).isoformat(timespec="milliseconds"),
            "client": {"ip": f"203.0.113.{number}" if number % 7 else f"2001:db8::{number:x}"},
        }
        if chance.random() < 0.8:
            line["client"]["agent"] = chance.choice(devices)
        if name == "screen_view":
            line["screen"] = {"name": chance.choice(["home", "search", "product"]), "seconds": chance.randint(1, 90)}
        if name == "add_to_cart":
            line["product"] = {"sku": f"{chance.randint(1, 999):06d}", "price": chance.randint(100, 9_999) / 100}
        made.append(line)
    return made


def bloomreach_export(last: datetime) -> list[dict[str, Any]]:
    """Events as Bloomreach's "Export events" answers them, one a line, with the id that was asked for beside them.

    In: when the newest of them happened; they reach three days back.
    """
    chance = random.Random(20260307)
    made = []
    for number in range(1, 181):
        micros = int(last.timestamp() * 1_000_000) - (180 - number) * 1_440_000_000 - chance.randint(1, 999_999)
        kind = chance.choices(["session_start", "view_item", "purchase", "Newsletter opened"], [2, 4, 3, 1])[0]
        properties: dict[str, Any] = {}
        if kind == "view_item":
            properties = {"product_id": f"{chance.randint(1, 999):06d}", "title": "Lampe d'été", "price": 12.9}
            if chance.random() < 0.2:
                properties["title"] = "A lamp for the garden, the terrace and the balcony, in seven colours"
        if kind == "purchase":
            properties = {
                "purchase_id": number,
                "total_price": chance.randint(100, 99_999) / 100,
                "product_list": [{"product_id": f"{chance.randint(1, 999):06d}", "quantity": chance.randint(1, 3)}],
                "voucher_code": chance.choice([None, "SPRING-26"]),
            }
        item = {"properties": properties, "timestamp": micros / 1_000_000, "type": kind}
        made.append({"registered": f"{chance.randint(1, 30):05d}", **item})
    return made


def mixpanel_export() -> list[dict[str, Any]]:
    """Events as Mixpanel's raw export API writes them: visitors without a name, `$`-keys, one event twice."""
    chance = random.Random(20260308)
    moment = datetime(2026, 3, 1, 7, 0, tzinfo=UTC)
    made: list[dict[str, Any]] = []
    for number in range(1, 181):
        moment += timedelta(seconds=chance.randint(0, 600))
        person = chance.randint(1, 25)
        device = f"18d{person:05x}-0c1f-4b7e"
        known = chance.random() < 0.7
        name = chance.choices(["Page Viewed", "Sign Up", "Order Completed", "$identify"], [5, 1, 3, 1])[0]
        properties: dict[str, Any] = {
            "time": int(moment.timestamp()),
            "distinct_id": f"{person:05d}" if known else f"$device:{device}",
            "$browser": chance.choice(["Chrome", "Mobile Safari"]),
            "$current_url": f"https://shop.example.com/p/{chance.randint(1, 40)}?q=a%20b",
            "$device_id": device,
            "$insert_id": f"{chance.getrandbits(60):015x}",
            "$lib_version": "2.56.0",
            "mp_country_code": chance.choice(["FR", "NO", "DE"]),
            "mp_lib": "web",
            "mp_processing_time_ms": int(moment.timestamp()) * 1000 + chance.randint(500, 90_000),
        }
        if known:
            properties["$user_id"] = f"{person:05d}"
        if name == "Sign Up":
            properties["Referred by"] = chance.choice(["Friend", "Search"])
        if name == "Order Completed":
            properties |= {"Order ID": f"A-{number:06d}", "Amount": chance.randint(100, 99_999) / 100}
        made.append({"event": name, "properties": properties})
    return [*made, next(line for line in made if line["event"] == "Order Completed")]


def write_csv(name: str, rows: list[dict[str, Any]]) -> None:
    """Write `sample_data/NAME` with the keys of the first row as its columns."""
    with (FOLDER / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """Write a file of JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def main() -> None:
    """Write all files of `sample_data/`; shop.db is SQLite with the orders again."""
    FOLDER.mkdir(exist_ok=True)
    rows = orders()
    for name, table in (("orders", rows), ("carts", carts()), ("signups", signups()), ("customers", customers())):
        write_csv(f"{name}.csv", table)
    exported = bloomreach_export(datetime(2026, 3, 4, 7, 0, tzinfo=UTC))
    for name, lines in (("visits", visits()), ("app", app()), ("bloomreach_export", exported)):
        write_lines(FOLDER / f"{name}.jsonl", lines)
    write_lines(FOLDER / "mixpanel_export.jsonl", mixpanel_export())
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
