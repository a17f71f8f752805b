"""The rival, written in an afternoon: csv.DictReader, json.dumps, one requests.Session; no plan and no receipts.

`python -m tests.bench.script batch|bloomreach FILE URL`
"""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime
from typing import Any

import requests


def batch(path: str, url: str) -> None:
    """A thousand events a call, grouped by user."""
    session = requests.Session()
    session.headers.update({"Content-Type": "application/json", "X-Authorization": "rest-key"})
    users: dict[str, list[dict[str, Any]]] = {}
    count = 0

    def send() -> None:
        body = [{"id": user, "events": events} for user, events in users.items()]
        answer = session.post(f"{url}/1.0/key/events/users", data=dumps(body))
        answer.raise_for_status()
        answer.json()["token"]

    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            event: dict[str, Any] = {"name": "ue." + row["event"], "time": row["occurred_at"].replace(" ", "T")}
            if row["label"]:
                event["label"] = row["label"]
            attributes: dict[str, Any] = {
                "product": row["product"],
                "amount": float(row["amount"]),
                "quantity": int(row["quantity"]),
            }
            if row["channel"]:
                attributes["channel"] = row["channel"]
            attributes["date(ordered_at)"] = row["ordered_at"].replace(" ", "T")
            event["attributes"] = attributes
            if row["tags"]:
                event["tags"] = row["tags"].split("|")
            users.setdefault(row["user_id"], []).append(event)
            count += 1
            if count == 1000:
                send()
                users, count = {}, 0
    if users:
        send()


def bloomreach(path: str, url: str) -> None:
    """Fifty commands a call."""
    session = requests.Session()
    session.headers.update({"Content-Type": "application/json", "Authorization": "Token token"})
    commands: list[dict[str, Any]] = []

    def send() -> None:
        answer = session.post(f"{url}/track/v2/projects/project/batch", data=dumps({"commands": commands}))
        answer.raise_for_status()
        assert all(result["success"] for result in answer.json()["results"])

    with open(path, newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 1):
            properties: dict[str, Any] = {
                "product": row["product"],
                "amount": float(row["amount"]),
                "quantity": int(row["quantity"]),
            }
            if row["channel"]:
                properties["channel"] = row["channel"]
            properties["ordered_at"] = seconds(row["ordered_at"])
            if row["label"]:
                properties["label"] = row["label"]
            if row["tags"]:
                properties["tags"] = row["tags"].split("|")
            data = {
                "customer_ids": {"registered": row["user_id"]},
                "event_type": row["event"],
                "timestamp": seconds(row["occurred_at"]),
                "properties": properties,
            }
            commands.append({"name": "customers/events", "data": data, "command_id": str(number)})
            if len(commands) == 50:
                send()
                commands = []
    if commands:
        send()


def dumps(body: object) -> bytes:
    """Compact JSON."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def seconds(text: str) -> int:
    """Seconds since 1970 of a time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


if __name__ == "__main__":
    {"batch": batch, "bloomreach": bloomreach}[sys.argv[1]](sys.argv[2], sys.argv[3])
