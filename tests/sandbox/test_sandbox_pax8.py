"""The emulated Pax8, seen through a real HTTP client."""

from decimal import Decimal
from email.utils import parsedate_to_datetime

import pytest

from billingsync.sandbox.caller import Caller, json
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox


@pytest.fixture(scope="module")
def server():
    with Sandbox() as sandbox, Caller(sandbox.environment()) as caller:
        yield sandbox, caller


@pytest.fixture
def sandbox(server):
    server[0].reset(SandboxOptions())
    return server[0]


@pytest.fixture
def caller(server, sandbox):
    server[1].forget()
    return server[1]


def main_invoice(sandbox):
    return max(sandbox.pax8.invoices[:3], key=lambda row: len(sandbox.pax8.items[row["id"]]))["id"]


def test_token_is_json_and_needs_all_four(caller, sandbox):
    answer = caller.pax8_token()
    assert answer.status_code == 200
    assert (
        answer.json().keys() == {"access_token", "expires_in", "token_type"} and answer.json()["expires_in"] == 86_400
    )
    for name in ("client_id", "client_secret", "audience", "grant_type"):
        refused = caller.pax8_token(**{name: "wrong"})
        assert (refused.status_code, refused.json()["error"]) == (401, "access_denied")
    form = caller.http.post(sandbox.environment()["BILLINGSYNC_PAX8__TOKEN_URL"], data={"client_id": "x"})
    assert form.status_code == 415


def test_bearer_is_needed_expires_and_can_be_voided(caller, sandbox):
    url = f"{sandbox.url}/pax8/v1/invoices"
    assert caller.http.get(url).status_code == 401
    assert caller.pax8("/invoices").status_code == 200
    sandbox.clock.advance(86_401)
    answer = caller.pax8("/invoices")
    assert answer.status_code == 401 and answer.json()["status"] == 401
    sandbox.reset(SandboxOptions(pax8_tokens_void_at_call=3))
    caller.forget()
    assert [caller.pax8("/invoices").status_code for _ in range(4)] == [200, 200, 401, 401]
    caller.forget()
    assert caller.pax8("/invoices").status_code == 200


def test_paging_is_zero_based_with_ten_rows_and_at_most_200(caller, sandbox):
    path = f"/invoices/{main_invoice(sandbox)}/items"
    total = len(sandbox.pax8.items[main_invoice(sandbox)])
    page = json(caller.pax8(path))
    assert len(page["content"]) == 10
    assert page["page"] == {"size": 10, "totalElements": total, "totalPages": -(-total // 10), "number": 0}
    read = [
        row for number in range(-(-total // 50)) for row in json(caller.pax8(path, page=number, size=50))["content"]
    ]
    assert read == sandbox.pax8.items[main_invoice(sandbox)]
    assert json(caller.pax8(path, page=99, size=200))["content"] == []
    assert [caller.pax8(path, size=size).status_code for size in (0, 201, "x")] == [400, 400, 400]
    sandbox.change(oversize="capped")
    assert json(caller.pax8(path, size=1_000))["page"]["size"] == 200


def test_numbers_are_exact(caller, sandbox):
    invoice = main_invoice(sandbox)
    odd = [Decimal("0.1000"), Decimal("1E+3"), Decimal("12345678901234567890.1234567890"), Decimal("-0.00")]
    for number, row in zip(odd, sandbox.pax8.items[invoice], strict=False):
        row["total"] = number
    text = caller.pax8(f"/invoices/{invoice}/items").text
    assert all(f'"total":{number}' in text for number in odd)


def test_invoice_filters_and_sort(caller, sandbox):
    def found(**query):
        return [row["invoiceDate"] for row in json(caller.pax8("/invoices", size=200, **query))["content"]]

    assert set(found()) == {"2026-11-01", "2026-10-01"}
    assert set(found(invoiceDateRangeStart="2026-11-01", invoiceDateRangeEnd="2026-11-30")) == {"2026-11-01"}
    assert set(found(invoiceDate="2026-10-01")) == {"2026-10-01"}
    assert len(found(status="Void")) == 1
    assert found(sort="invoiceDate,asc") == sorted(found()) and found(sort="invoiceDate,DESC")[0] == "2026-11-01"
    assert caller.pax8("/invoices", sort="colour,asc").status_code == 400
    assert sandbox.ignored == []
    found(billingPeriod="2026-11")
    assert sandbox.ignored == [("/invoices", "?billingPeriod")]


def test_one_and_errors(caller, sandbox):
    invoice = sandbox.pax8.invoices[0]
    assert json(caller.pax8(f"/invoices/{invoice['id']}")) == invoice
    answer = caller.pax8("/invoices/no-such")
    assert answer.status_code == 404
    assert answer.json().keys() == {"type", "message", "instance", "status", "details"}
    assert caller.pax8("/invoices/no-such/items").status_code == 404
    assert caller.pax8("/nothing").status_code == 404


def test_other_lists(caller, sandbox):
    for name in ("companies", "products", "subscriptions"):
        page = json(caller.pax8(f"/{name}", size=200))
        assert page["content"] == getattr(sandbox.pax8, name)
        first = page["content"][0]
        assert json(caller.pax8(f"/{name}/{first['id']}")) == first
    assert {row["status"] for row in json(caller.pax8("/companies", status="Active", size=200))["content"]} == {
        "Active"
    }
    assert json(caller.pax8("/products", search="azure"))["page"]["totalElements"] == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_only_get(method, caller, sandbox):
    assert caller.pax8("/invoices", method).status_code == 405
    assert [alarm.kind for alarm in sandbox.alarms] == ["pax8_write"]


def test_date_header(caller, sandbox):
    usual = parsedate_to_datetime(caller.pax8("/products").headers["Date"])
    sandbox.change(date_offset_s=3_600)
    later = parsedate_to_datetime(caller.pax8("/products").headers["Date"])
    assert 3_590 < (later - usual).total_seconds() < 3_700


def test_release(caller, sandbox):
    def dates():
        return {row["invoiceDate"] for row in json(caller.pax8("/invoices", size=200))["content"]}

    sandbox.reset(SandboxOptions(released=False))
    caller.forget()
    hidden = next(iter(sandbox.pax8.hidden))
    assert dates() == {"2026-10-01"} and caller.pax8(f"/invoices/{hidden}").status_code == 404
    sandbox.release()
    assert "2026-11-01" in dates() and caller.pax8(f"/invoices/{hidden}").status_code == 200
    sandbox.reset(SandboxOptions(release_after_list_calls=2))
    caller.forget()
    assert [len(dates()) for _ in range(3)] == [1, 1, 2]


def read_twice(caller, sandbox):
    path, total = f"/invoices/{main_invoice(sandbox)}/items", len(sandbox.pax8.items[main_invoice(sandbox)])
    return [
        [
            row.get("id")
            for page in range(-(-total // 40))
            for row in json(caller.pax8(path, page=page, size=40))["content"]
        ]
        for _ in range(2)
    ]


def test_item_pages(caller, sandbox):
    true = [row.get("id") for row in sandbox.pax8.items[main_invoice(sandbox)]]
    assert read_twice(caller, sandbox) == [true, true]
    sandbox.change(item_pages="reordered")
    first, second = read_twice(caller, sandbox)
    assert first != second and sorted(map(str, first)) == sorted(map(str, true)) == sorted(map(str, second))
    sandbox.change(item_pages="shuffled")
    assert len(set(read_twice(caller, sandbox)[0])) < len(set(true))
    sandbox.change(item_pages="repeating")
    repeated = read_twice(caller, sandbox)[0]
    assert len(repeated) == len(true) and len(set(repeated)) < len(set(true))
    sandbox.change(item_pages="missing")
    assert len(read_twice(caller, sandbox)[0]) == len(true) - 1


def test_rate_limit(caller, sandbox):
    sandbox.reset(SandboxOptions(pax8_calls_per_minute=2, retry_after_s=7))
    caller.forget()
    answers = [caller.pax8("/products") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429] and answers[2].headers["Retry-After"] == "7"
    sandbox.clock.advance(61)
    assert caller.pax8("/products").status_code == 200


def test_rows_may_be_edited(caller, sandbox):
    sandbox.pax8.companies[0]["name"] = "Renamed Ltd"
    assert json(caller.pax8("/companies"))["content"][0]["name"] == "Renamed Ltd"


def test_calls_are_logged(caller, sandbox):
    caller.pax8("/products", size=1)
    token, call = sandbox.calls
    assert (token.service, token.method, token.path, token.body) == ("pax8", "POST", "/token", b"")
    assert (call.path, call.query, call.status, call.effect) == ("/products", {"size": "1"}, 200, False)
