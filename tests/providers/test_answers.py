"""What each answer of a provider means for a chunk, as its documents say."""

from __future__ import annotations

from typing import Any

import pytest

from loader.providers.appizer import Batch
from loader.providers.base import Answer, Outcome, Route
from loader.providers.batch import Bulk
from loader.providers.batch import Single as BatchSingle
from loader.providers.bloomreach import Commands
from loader.providers.bloomreach import Single as BloomreachSingle
from loader.providers.pushengage import Single as PushEngageSingle
from tests.providers.contracts import answer

BATCH, BATCH_ONE, APPIZER, PUSHENGAGE = Bulk(), BatchSingle(), Batch(), PushEngageSingle()
BLOOMREACH, BLOOMREACH_ONE = Commands(), BloomreachSingle()
ROWS = [11, 12, 13]
NO_PERMISSION = {"success": False, "errors": ["Not authorized to add event of specified type"]}
HTML = b"<html><body>Bad gateway</body></html>"


def processed(count: Any, success: Any = True) -> dict[str, Any]:
    return {"success": success, "processed_count": count, "message": "Batch events tracked successfully"}


def error(code: int, message: str = "Invalid data", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "code": code, **more}}


def results(*outcomes: dict[str, Any]) -> dict[str, Any]:
    return {"results": list(outcomes), "start_time": 1.0, "end_time": 2.0, "success": True}


def result(row: int, success: bool = True, **more: Any) -> dict[str, Any]:
    return {"success": success, "command_id": str(row), **more}


@pytest.mark.parametrize(
    ("route", "given", "outcome"),
    [
        (BATCH, answer(201, {"token": "t"}), Outcome.TAKEN),
        (BATCH, answer(200, {"token": "t"}), Outcome.IN_DOUBT),
        (BATCH, answer(202, {"token": "t"}), Outcome.IN_DOUBT),
        (BATCH, answer(201, {}), Outcome.IN_DOUBT),
        (BATCH, answer(201, HTML), Outcome.IN_DOUBT),
        (BATCH, answer(201, b'{"token": "t'), Outcome.IN_DOUBT),
        (BATCH, answer(400, {"code": 30}), Outcome.REFUSED),
        (BATCH, answer(400, {"code": 31}), Outcome.REFUSED),
        (BATCH, answer(400, {"code": 32}), Outcome.REFUSED),
        (BATCH, answer(413, HTML), Outcome.REFUSED),
        (BATCH, answer(401, {"code": 10}), Outcome.STOPPED),
        (BATCH, answer(403, {"code": 12}), Outcome.STOPPED),
        (BATCH, answer(404, {"code": 20}), Outcome.STOPPED),
        (BATCH, answer(302, b"", location="https://elsewhere.example/x?key=secret"), Outcome.STOPPED),
        (BATCH, answer(429, {"code": 60}), Outcome.NOT_TAKEN),
        (BATCH, answer(429, HTML), Outcome.NOT_TAKEN),
        (BATCH, answer(500, {"code": 1}), Outcome.NOT_TAKEN),
        (BATCH, answer(503, {"code": 2}), Outcome.NOT_TAKEN),
        (BATCH, answer(500, HTML), Outcome.IN_DOUBT),
        (BATCH, answer(500, {"error_code": 1}), Outcome.NOT_TAKEN),
        (BATCH, answer(500, {"message": "Internal server error"}), Outcome.IN_DOUBT),
        (BATCH, answer(503, {"code": 1}), Outcome.IN_DOUBT),
        (BATCH, answer(502, HTML), Outcome.IN_DOUBT),
        (BATCH, answer(504, HTML), Outcome.IN_DOUBT),
        (BATCH, answer(408, b""), Outcome.IN_DOUBT),
        (BLOOMREACH, answer(200, results(*(result(row) for row in ROWS))), Outcome.TAKEN),
        (BLOOMREACH, answer(200, results(result(11), result(12))), Outcome.IN_DOUBT),
        (BLOOMREACH, answer(200, results(result(11), result(12), result(12))), Outcome.IN_DOUBT),
        (BLOOMREACH, answer(200, results(result(11), result(12), result(99))), Outcome.IN_DOUBT),
        (BLOOMREACH, answer(200, results(result(11), result(12), {"command_id": "13"})), Outcome.IN_DOUBT),
        (BLOOMREACH, answer(200, results(*(result(row) for row in [*ROWS, 13]))), Outcome.IN_DOUBT),
        (BLOOMREACH, answer(200, results(*[{"success": True}] * 2)), Outcome.IN_DOUBT),
        (BLOOMREACH, answer(200, results(*[{"success": True}] * 4)), Outcome.IN_DOUBT),
        (BLOOMREACH, answer(200, results(*[NO_PERMISSION] * 3)), Outcome.STOPPED),
        (BLOOMREACH, answer(200, results({"success": True}, *[NO_PERMISSION] * 2)), Outcome.TAKEN),
        (BLOOMREACH_ONE, answer(200, NO_PERMISSION), Outcome.STOPPED),
        (BLOOMREACH, answer(200, HTML), Outcome.IN_DOUBT),
        (BLOOMREACH, answer(200, []), Outcome.IN_DOUBT),
        (BLOOMREACH, answer(200, {"results": "ok"}), Outcome.IN_DOUBT),
        (BLOOMREACH, answer(200, {"success": False, "errors": "Field project_id is required"}), Outcome.REFUSED),
        (BLOOMREACH, answer(400, {"success": False, "message": "Invalid JSON"}), Outcome.REFUSED),
        (BLOOMREACH, answer(400, {"success": False, "error": "Invalid project id"}), Outcome.STOPPED),
        (BLOOMREACH, answer(401, {"success": False, "error": "access key not found"}), Outcome.STOPPED),
        (BLOOMREACH, answer(403, {"success": False}), Outcome.STOPPED),
        (BLOOMREACH, answer(429, {"success": False}), Outcome.NOT_TAKEN),
        (BLOOMREACH, answer(500, b""), Outcome.NOT_TAKEN),
        (BLOOMREACH, answer(502, HTML), Outcome.IN_DOUBT),
        (BLOOMREACH_ONE, answer(200, {"errors": [], "success": True}), Outcome.TAKEN),
        (BLOOMREACH_ONE, answer(200, {"success": False, "errors": "Field project_id is required"}), Outcome.REFUSED),
        (BLOOMREACH_ONE, answer(200, {"success": "true"}), Outcome.IN_DOUBT),
        (BLOOMREACH_ONE, answer(400, {"success": False, "error": "Invalid project id"}), Outcome.STOPPED),
        (BLOOMREACH_ONE, answer(401, {"success": False, "error": "access key not found"}), Outcome.STOPPED),
        (BATCH_ONE, answer(201, {"token": "t"}), Outcome.TAKEN),
        (BATCH_ONE, answer(400, {"code": 31}), Outcome.REFUSED),
        (BATCH_ONE, answer(404, {"code": 20}), Outcome.STOPPED),
        (APPIZER, answer(200, processed(3)), Outcome.TAKEN),
        (APPIZER, answer(201, processed(3)), Outcome.TAKEN),
        (APPIZER, answer(200, processed(2)), Outcome.IN_DOUBT),
        (APPIZER, answer(200, processed(0)), Outcome.IN_DOUBT),
        (APPIZER, answer(200, processed(4)), Outcome.IN_DOUBT),
        (APPIZER, answer(200, processed(3.0)), Outcome.IN_DOUBT),
        (APPIZER, answer(200, processed("3")), Outcome.IN_DOUBT),
        (APPIZER, answer(200, processed(3, success=False)), Outcome.IN_DOUBT),
        (APPIZER, answer(200, processed(3, success=1)), Outcome.IN_DOUBT),
        (APPIZER, answer(200, {"success": True}), Outcome.IN_DOUBT),
        (APPIZER, answer(400, {"code": "MISSING_FIELD"}), Outcome.REFUSED),
        (APPIZER, answer(401, {"code": "REVOKED_API_KEY"}), Outcome.STOPPED),
        (APPIZER, answer(403, {"code": "INSUFFICIENT_PERMISSIONS"}), Outcome.STOPPED),
        (APPIZER, answer(500, {"error": "server_error"}), Outcome.NOT_TAKEN),
        (APPIZER, answer(500, HTML), Outcome.IN_DOUBT),
        (APPIZER, answer(500, {"message": "Internal server error"}), Outcome.IN_DOUBT),
        (PUSHENGAGE, answer(200, {"error_code": 0, "data": {}}), Outcome.TAKEN),
        (PUSHENGAGE, answer(200, {"error_code": 1003}), Outcome.REFUSED),
        (PUSHENGAGE, answer(200, {"error_code": 1001}), Outcome.NOT_TAKEN),
        (PUSHENGAGE, answer(200, {"error_code": 401000}), Outcome.STOPPED),
        (PUSHENGAGE, answer(200, {"error_code": False}), Outcome.IN_DOUBT),
        (PUSHENGAGE, answer(200, {"error_code": "0"}), Outcome.IN_DOUBT),
        (PUSHENGAGE, answer(200, {"error_code": 0, **error(1003)}), Outcome.REFUSED),
        (PUSHENGAGE, answer(200, error(0)), Outcome.REFUSED),
        (PUSHENGAGE, answer(201, {"error_code": 0}), Outcome.IN_DOUBT),
        (PUSHENGAGE, answer(400, error(1003)), Outcome.REFUSED),
        (PUSHENGAGE, answer(400, error(401002)), Outcome.STOPPED),
        (PUSHENGAGE, answer(401, error(401002)), Outcome.STOPPED),
        (PUSHENGAGE, answer(401, {}), Outcome.STOPPED),
        (PUSHENGAGE, answer(500, error(1001)), Outcome.NOT_TAKEN),
        (PUSHENGAGE, answer(500, HTML), Outcome.IN_DOUBT),
        (PUSHENGAGE, answer(500, {"message": "Internal server error"}), Outcome.IN_DOUBT),
        (PUSHENGAGE, answer(413, error(1003)), Outcome.REFUSED),
    ],
)
def test_outcome(route: Route, given: Answer, outcome: Outcome) -> None:
    assert route.read(given, ROWS).outcome is outcome


def test_an_appizer_shortfall_tells_both_numbers() -> None:
    assert "processed_count 2 for 3 events" in APPIZER.read(answer(200, processed(2)), ROWS).message
    assert "no processed_count for 3 events" in APPIZER.read(answer(200, {"success": True}), ROWS).message


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        ({"details": {"retry_after": 30}}, {}, 30.0),
        ({"details": {"retry_after": 30}}, {"retry_after": "7"}, 7.0),
        ({"details": {"retry_after": 0.5}}, {"x_ratelimit_reset": "1795219240"}, 0.5),
        ({"details": {}}, {"x_ratelimit_reset": "1795219240"}, 40.0),
        ({"details": None}, {"x_ratelimit_reset": "1795219100"}, 0.0),
        ({"details": {"retry_after": True}}, {"x_ratelimit_reset": "soon"}, None),
        ({"details": {"retry_after": -1}}, {}, None),
        ([], {}, None),
    ],
)
def test_how_long_appizer_asks_to_wait(body: Any, headers: dict[str, str], seconds: float | None) -> None:
    given = answer(429, body, date="Sat, 21 Nov 2026 00:00:00 GMT", **headers)
    assert APPIZER.read(given, ROWS).wait == seconds


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ([{"message": "event_name is required", "path": ["event_name"]}], "event_name: event_name is required"),
        ([{"message": "too long", "path": ["data", "a", 1]}, {"message": "b"}], "data.a.1: too long; b"),
        ([{"path": []}, 5], "invalid"),
    ],
)
def test_a_pushengage_refusal_tells_where(details: Any, words: str) -> None:
    receipt = PUSHENGAGE.read(answer(400, error(1003, details=details)), ROWS)
    assert receipt.message == f"HTTP 400: code 1003: Invalid data; {words}"


@pytest.mark.parametrize("key", ["errors", "error", "message", "details", "code"])
@pytest.mark.parametrize("route", [BATCH, APPIZER, BLOOMREACH, BLOOMREACH_ONE, PUSHENGAGE])
@pytest.mark.parametrize("status", [200, 201, 400, 401, 429, 500])
def test_an_answer_that_is_nested_deeply_is_read(route: Route, key: str, status: int) -> None:
    deep = "[" * 1000 + "]" * 1000
    body = '{"success": false, "%s": %s, "error": {"code": 7, "%s": %s, "details": [{"path": %s}]}}'
    receipt = route.read(answer(status, (body % (key, deep, key, deep, deep)).encode()), ROWS)
    assert len(receipt.message) < 400


def test_batch_keeps_the_token() -> None:
    token = "110e8400-e29b-11d4-b543-446655440000"
    assert BATCH.read(answer(201, {"token": token}), ROWS).token == token


@pytest.mark.parametrize("order", [(11, 12, 13), (13, 11, 12)])
def test_bloomreach_results_in_any_order(order: tuple[int, ...]) -> None:
    refused = {11: "bad", 12: None, 13: None}
    given = results(
        *(result(row, refused[row] is None, **({"errors": [refused[row]]} if refused[row] else {})) for row in order)
    )
    receipt = BLOOMREACH.read(answer(200, given), ROWS)
    assert (receipt.outcome, receipt.refused) == (Outcome.TAKEN, {0: "bad"})


def test_bloomreach_results_without_ids_are_in_order() -> None:
    given = results({"success": True}, {"success": False, "errors": ["late"]}, {"success": True})
    assert BLOOMREACH.read(answer(200, given), ROWS).refused == {1: "late"}


@pytest.mark.parametrize("without", [0, 1, 2])
@pytest.mark.parametrize("given", [{}, {"command_id": None}])
def test_bloomreach_results_of_which_some_have_ids_blame_no_row(without: int, given: dict[str, Any]) -> None:
    said = [result(13, False, errors=["bad event of 13"]), result(12), result(11)]
    said[without] = {key: value for key, value in said[without].items() if key != "command_id"} | given
    receipt = BLOOMREACH.read(answer(200, results(*said)), ROWS)
    assert (receipt.outcome, receipt.refused) == (Outcome.IN_DOUBT, {})
    assert "3 results are not told apart for 3 commands" in receipt.message


@pytest.mark.parametrize(
    ("failed", "words"),
    [
        ({"errors": ["a", "b"]}, "a; b"),
        ({"errors": "a"}, "a"),
        ({"errors": {"_global": ["a"]}}, "_global: a"),
        ({"error": "access key not found"}, "access key not found"),
        ({"message": "No commands"}, "No commands"),
        ({}, "refused without a reason"),
    ],
)
def test_bloomreach_errors_in_all_their_shapes(failed: dict[str, Any], words: str) -> None:
    receipt = BLOOMREACH.read(answer(200, results(result(11, False, **failed), result(12), result(13))), ROWS)
    assert receipt.refused == {0: words}


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Sat, 21 Nov 2026 00:00:09 GMT", 9.0),
        ("Fri, 20 Nov 2026 00:00:09 GMT", 0.0),
        ("Sat, 21 Nov 99999999999999999999 00:00:00 GMT", None),
        ("Sat, 21 Nov 2026 00:00:09 +99999999999999", None),
        ("-1", None),
        ("1e3", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    headers = {"retry_after": header, "date": "Sat, 21 Nov 2026 00:00:00 GMT"}
    assert BATCH.read(answer(429, {"code": 60}, **headers), ROWS).wait == seconds


def test_a_redirect_does_not_show_its_query() -> None:
    given = answer(302, b"", location="https://elsewhere.example/x?key=secret")
    assert "secret" not in BATCH.read(given, ROWS).message
