"""Each ready mapping of `mappings/`, run against the sandbox: what arrives is what an independent computation says."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from loader.sandbox import CREDENTIALS
from tests import make_sample_data
from tests.make_sample_data import bloomreach_export, write_lines
from tests.support.project import Project
from tests.support.sandbox import RunningSandbox, sandbox

ROOT = Path(__file__).parent.parent.parent
SAMPLES = ROOT / "sample_data"
PARIS = ZoneInfo("Europe/Paris")
# Who gets an event, and the event as it stands in the request; in the order of the source.
Expected = list[tuple[str, dict[str, Any]]]


def table(name: str) -> list[dict[str, str]]:
    """The rows of a CSV file of `sample_data/`."""
    with (SAMPLES / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines, with fractions as Decimal."""
    return [json.loads(line, parse_float=Decimal) for line in path.read_text(encoding="utf-8").splitlines()]


def given(**values: Any) -> dict[str, Any]:
    """The values that are there."""
    return {key: value for key, value in values.items() if value is not None and value != ""}


def seconds(moment: datetime) -> Decimal | int:
    """Since 1970, to the microsecond where there is a fraction."""
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return micros // 1_000_000 if micros % 1_000_000 == 0 else Decimal(micros).scaleb(-6)


def bloomreach(ids: dict[str, str], name: str, moment: datetime, properties: dict[str, Any]) -> dict[str, Any]:
    return {"customer_ids": ids, "event_type": name, "timestamp": seconds(moment), "properties": properties}


def trimmed(number: Decimal) -> Decimal | int:
    """A number that was computed, with no more digits than it takes: 23, not 23.000000."""
    return int(number) if number == int(number) else number.normalize()


def paid_orders() -> Iterator[tuple[dict[str, str], datetime, Decimal | int]]:
    for row in table("orders.csv"):
        if row["status"] == "paid":
            paid = datetime.fromisoformat(row["paid_at"]).replace(tzinfo=PARIS)
            yield row, paid, trimmed(Decimal(row["amount_cents"]) / 100)


def orders_to_bloomreach() -> Expected:
    return [
        (
            "",
            bloomreach(
                {"registered": row["customer_id"]},
                "purchase",
                paid,
                given(
                    order_id=row["order_id"],
                    total=total,
                    currency=row["currency"],
                    coupon=row["coupon"].upper(),
                    segment={"G": "gold", "S": "silver"}.get(row["tier"], "none"),
                    email_hash=hashlib.sha256(row["email"].strip().lower().encode()).hexdigest(),
                ),
            ),
        )
        for row, paid, total in paid_orders()
    ]


def shop_to_bloomreach() -> Expected:
    return [
        (
            "",
            bloomreach(
                {"registered": row["customer_id"]},
                "purchase",
                paid,
                given(order_id=row["order_id"], total=total, coupon=row["coupon"]),
            ),
        )
        for row, paid, total in paid_orders()
    ]


def orders_to_batch() -> Expected:
    return [
        (
            f"sandbox-api-key {row['customer_id']}",
            given(
                name="ue.purchase",
                label={"G": "gold", "S": "silver"}.get(row["tier"], "none"),
                tags=[row["coupon"]] if row["coupon"] else None,
                # A whole number has its .0 here, so that all totals are of one type.
                attributes={"order_id": row["order_id"], "total": Decimal(str(int(row["amount_cents"]) / 100))},
            ),
        )
        for row, _, _ in paid_orders()
    ]


def visits_to_bloomreach() -> Expected:
    expected = []
    for line in lines(SAMPLES / "visits.jsonl"):
        properties = given(
            path=line["page"]["path"],
            seconds=line["page"]["seconds"],
            country=line["user"]["country"],
            labels=line["labels"],
            referrer=line.get("referrer"),
        )
        moment = datetime.fromtimestamp(line["at"] // 1000, UTC) + timedelta(milliseconds=line["at"] % 1000)
        expected.append(("", bloomreach({"registered": line["user"]["id"]}, "page_visit", moment, properties)))
    return expected


def abandoned_carts() -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    for row in table("carts.csv"):
        if row["status"] == "abandoned":
            yield (
                row,
                {
                    "cart_id": row["cart_id"],
                    "items": int(row["items"]),
                    "value": Decimal(row["value"]),
                    "product": row["product"],
                },
            )


def carts_to_batch_single() -> Expected:
    return [
        (
            f"sandbox-api-key {row['customer_id']}",
            {
                "name": "ue.cart_abandoned",
                "attributes": {**cart, "date(last_change)": row["last_change"].removesuffix("Z")},
            },
        )
        for row, cart in abandoned_carts()
        if row["customer_id"]
    ]


def carts_to_pushengage() -> Expected:
    expected = []
    for row, cart in abandoned_carts():
        kind = "profile_id" if row["customer_id"] else "device_token_hash"
        user = row["customer_id"] or row["device_token_hash"]
        event = {"event_name": "cart_abandoned", kind: user, "data": {**cart, "last_change": row["last_change"]}}
        expected.append((user, event))
    return expected


def app_to_appizer() -> Expected:
    expected = []
    for line in lines(SAMPLES / "app.jsonl"):
        if line["user"] is None:
            continue
        screen = line.get("screen", {})
        properties = given(
            screen=screen.get("name"),
            seconds=screen.get("seconds"),
            product=line.get("product"),
            happened_at=line["at"],
        )
        event = given(
            event_name=line["event"],
            user_id=line["user"],
            properties=properties,
            ip=line["client"]["ip"],
            ua=line["client"].get("agent"),
        )
        expected.append((line["user"], event))
    return expected


def signed_up(row: dict[str, str]) -> datetime:
    return datetime.strptime(row["signed_up_at"], "%d/%m/%Y %H:%M:%S").replace(tzinfo=PARIS)


def signups_to_bloomreach_single() -> Expected:
    return [
        (
            "",
            bloomreach(
                given(registered=row["customer_id"], cookie=row["cookie"]),
                "sign_up",
                signed_up(row),
                {"plan": row["plan"], "source": row["source"] or "unknown", "newsletter": row["newsletter"] == "yes"},
            ),
        )
        for row in table("signups.csv")
    ]


def signups_to_batch() -> Expected:
    return [
        (
            f"{key} {row['customer_id']}",
            given(
                name="ue.sign_up",
                label=row["plan"],
                tags=[row["source"]] if row["source"] else None,
                attributes={"plan": row["plan"], "newsletter": row["newsletter"] == "yes"},
            ),
        )
        for key in ("sandbox-api-key", "sandbox-api-key-2")
        for row in table("signups.csv")
    ]


def customers_to_bloomreach() -> Expected:
    return [
        (
            "",
            {
                "customer_ids": {"registered": row["customer_id"]},
                "update_timestamp": seconds(datetime.fromisoformat(row["changed_at"])),
                "properties": given(
                    email=row["email"].strip().lower(),
                    first_name=row["first_name"],
                    tier={"G": "gold", "S": "silver", "B": "bronze"}.get(row["tier"], "none"),
                    points=int(row["points"]) if row["points"] else None,
                    member_number=row["member_number"],
                    newsletter=row["newsletter"] == "yes" if row["newsletter"] else None,
                ),
            },
        )
        for row in table("customers.csv")
    ]


def bloomreach_export_to_batch(path: Path, oldest: datetime) -> Expected:
    expected = []
    for line in lines(path):
        moment = datetime.fromtimestamp(int(line["timestamp"]), UTC)
        if line["type"] == "session_start" or moment < oldest:
            continue
        own = {key: value for key, value in line["properties"].items() if key != "product_list"}
        if "title" in own:
            own["title"] = own["title"][:64]
        event: dict[str, Any] = {
            "name": f"ue.{line['type'].lower().replace(' ', '_')}",
            "time": f"{moment:%Y-%m-%dT%H:%M:%S}",
        }
        if own:
            event["attributes"] = given(**own)
        expected.append((f"sandbox-api-key {line['registered']}", event))
    return expected


def mixpanel_export_to_bloomreach() -> Expected:
    unique = {json.dumps(line, default=str): line for line in lines(SAMPLES / "mixpanel_export.jsonl")}
    expected = []
    for line in unique.values():
        if line["event"].startswith("$"):
            continue
        own = line["properties"]
        ids = given(registered=own.get("$user_id"), cookie=own["$device_id"])
        properties = given(
            browser=own["$browser"],
            url=own["$current_url"],
            country=own["mp_country_code"],
            referred_by=own.get("Referred by"),
            order_id=own.get("Order ID"),
            amount=own.get("Amount"),
        )
        name = line["event"].lower().replace(" ", "_")
        expected.append(("", bloomreach(ids, name, datetime.fromtimestamp(own["time"], UTC), properties)))
    return expected


# What each mapping makes, the exit code, and the rejections by reason.
MAPPINGS: dict[str, tuple[Callable[[], Expected], int, dict[str, int]]] = {
    "orders_to_bloomreach": (orders_to_bloomreach, 0, {}),
    "orders_to_batch": (orders_to_batch, 0, {}),
    "shop_to_bloomreach": (shop_to_bloomreach, 0, {}),
    "visits_to_bloomreach": (visits_to_bloomreach, 0, {}),
    "carts_to_batch_single": (carts_to_batch_single, 0, {}),
    "carts_to_pushengage": (carts_to_pushengage, 0, {}),
    "app_to_appizer": (app_to_appizer, 3, {"missing_user": 22}),
    "signups_to_bloomreach_single": (signups_to_bloomreach_single, 0, {}),
    "signups_to_batch": (signups_to_batch, 0, {}),
    "customers_to_bloomreach": (customers_to_bloomreach, 0, {}),
    "mixpanel_export_to_bloomreach": (mixpanel_export_to_bloomreach, 3, {"duplicate_id": 1}),
}
# Migrations whose events must be of today, and the mappings of data that is not in this repository.
OF_TESTS_OF_THEIR_OWN = {"bloomreach_export_to_batch", "online_retail_to_batch", "online_retail_to_bloomreach"}


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningSandbox]:
    """One sandbox for all mappings, forgetful between them."""
    with sandbox("--appizer-unlimited") as running:
        yield running


def run(project: Project, stand_in: RunningSandbox, name: str, **env: str) -> tuple[int, dict[str, Any]]:
    """A ready mapping, beside the sample data and with the sandbox's address put in: the exit code and the output."""
    stand_in.reset()
    folder = project.folder / "mappings"
    folder.mkdir()
    (project.folder / "sample_data").symlink_to(SAMPLES)
    project.mapping_path = folder / f"{name}.yaml"
    text = (ROOT / "mappings" / project.mapping_path.name).read_text(encoding="utf-8")
    for provider in CREDENTIALS:
        text = text.replace(f"provider: {provider}\n", f"provider: {provider}\n    base_url: {stand_in.url}\n")
        env |= {f"{provider}_{key}".upper(): value for key, value in CREDENTIALS[provider].items()}
    env |= {"BATCH_IOS_API_KEY": "sandbox-api-key", "BATCH_ANDROID_API_KEY": "sandbox-api-key-2"}
    project.mapping_path.write_text(text, encoding="utf-8")
    ended = project.run(env=env)
    return ended.code, ended.json


def received(stand_in: RunningSandbox, provider: str) -> Expected:
    """What arrived, in the order of its arrival."""
    found = []
    for line in stand_in.received_exactly(provider):
        if provider == "bloomreach":
            assert not line["duplicate"]
            found.append(("", line["command"]["data"]))
        else:
            event = line["event"]
            ids = [event.get(key) for key in ("user_id", "profile_id", "device_token_hash")]
            found.append((next((i for i in ids if i), f"{line.get('api_key')} {line.get('user')}"), event))
    return found


def comparable(events: Expected, ordered: bool) -> dict[str, list[str]]:
    """Per user the events, in their order where the provider keeps one."""
    users: dict[str, list[str]] = defaultdict(list)
    for user, event in events:
        users[user].append(json.dumps(event, default=str, sort_keys=True))
    return dict(users) if ordered else {user: sorted(texts) for user, texts in users.items()}


@pytest.mark.parametrize("name", MAPPINGS)
def test_what_arrives(project: Project, shared: RunningSandbox, name: str) -> None:
    expected, code, reasons = MAPPINGS[name]
    exit_code, told = run(project, shared, name)
    assert exit_code == code, told
    provider = told["destinations"][0]["provider"]
    assert comparable(received(shared, provider), provider != "bloomreach") == comparable(
        expected(), provider != "bloomreach"
    )
    assert sum(d["events"]["sent"] for d in told["destinations"]) == len(expected()) > 50
    told = project.loader("rejects", str(project.mapping_path), "--json").json
    assert {group["reason"]: group["count"] for group in told["rejections"]} == reasons


def test_a_migration_to_batch_sends_the_last_day_and_names_the_rest(project: Project, shared: RunningSandbox) -> None:
    now = datetime.now(UTC)
    path = project.folder / "export.jsonl"
    write_lines(path, bloomreach_export(now - timedelta(minutes=5)))
    code, told = run(project, shared, "bloomreach_export_to_batch", BLOOMREACH_EXPORT=str(path))
    expected = bloomreach_export_to_batch(path, now - timedelta(hours=24))
    assert comparable(received(shared, "batch"), ordered=True) == comparable(expected, ordered=True)
    events = told["destinations"][0]["events"]
    assert (code, events["sent"], events["sent"] + events["rejected"]) == (3, len(expected), events["total"])
    assert len(expected) > 30
    assert events["rejected"] > 60


def test_the_sample_of_a_migration_to_batch_is_too_old_for_it(project: Project, shared: RunningSandbox) -> None:
    code, told = run(project, shared, "bloomreach_export_to_batch")
    events = told["destinations"][0]["events"]
    assert (code, events["sent"], events["rejected"]) == (3, 0, events["total"])
    assert shared.requests() == []


def test_the_sample_data_is_what_its_script_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_sample_data, "FOLDER", tmp_path)
    make_sample_data.main()
    # The bytes of a SQLite file depend on the version of SQLite.
    texts = sorted(path.name for path in SAMPLES.iterdir() if path.suffix != ".db")
    assert texts == sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".db")
    assert [name for name in texts if (SAMPLES / name).read_bytes() != (tmp_path / name).read_bytes()] == []


def test_each_mapping_is_tested_and_listed() -> None:
    names = {path.stem for path in (ROOT / "mappings").glob("*.yaml")}
    assert names == {*MAPPINGS} | OF_TESTS_OF_THEIR_OWN
    readme = (ROOT / "mappings" / "README.md").read_text(encoding="utf-8")
    assert [name for name in sorted(names) if f"`{name}.yaml`" not in readme] == []
