"""What is left of an exchange when nothing of anybody's is left."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
import simplejson
from vcr.request import Request

from .scrub import Exchange, Leak, Scrubber

PAX8, HALO = "https://true.pax8.test/v1", "https://acme.halopsa.com"
ADDRESSES = {PAX8: "https://pax8.example/v1", HALO: "https://halo.example"}
GUID = "7e338a9b-7bf5-4489-ad0a-59f5e664be19"


def said(
    answer: Any,
    url: str = "https://acme.halopsa.com/api/x",
    *,
    status: int = 200,
    asked: Any = None,
    method: str = "GET",
) -> Exchange:
    body = answer if isinstance(answer, bytes) else simplejson.dumps(answer, use_decimal=True).encode()
    headers = {"Authorization": "Bearer eyJ.true", "Host": "acme.halopsa.com", "Content-Type": "application/json"}
    response = {
        "status": {"code": status, "message": "whatever"},
        "headers": {"Content-Type": ["application/json"], "Set-Cookie": ["session=1"], "X-Served-By": ["acme-7"]},
        "body": {"string": body},
    }
    return Request(method, url, b"" if asked is None else json.dumps(asked).encode(), headers), response


def scrubbed(*exchanges: Exchange, keep: frozenset[str] = frozenset()) -> list[tuple[Request, Any]]:
    """Request and answer, the latter as JSON where it is JSON."""
    scrubber = Scrubber(ADDRESSES, keep)
    scrubber.learn(exchanges, [])
    found = []
    for exchange in exchanges:
        request, response = scrubber.exchange(*exchange)
        body = response["body"]["string"].decode()
        scrubber.check(f"{request.uri} {request.body!r} {body}")
        found.append((request, simplejson.loads(body, use_decimal=True) if body[:1] in ("{", "[", '"') else body))
    return found


def answer(value: Any, **more: Any) -> Any:
    return scrubbed(said(value, **more))[0][1]


def test_amounts_dates_and_codes_stay_digit_by_digit() -> None:
    row = {
        "total": Decimal("103.4412"),
        "price": Decimal("22.00"),
        "quantity": Decimal("-1.50"),
        "costTotal": 0,
        "qty_order": Decimal("3.0"),
        "invoice_date": "2026-11-05T12:00:00.123",
        "updatedDate": "2026-08-11T11:33:12.314-0600",
        "currencyCode": "USD",
        "type": "prorate",
        "term": "Arrears",
        "posted": False,
        "dateposted": None,
        "sku": "MST-AZR-1",
        "change_seq": 44,
        "tax_code": "12",
    }
    found = answer([row])
    assert found == [row]
    assert str(found[0]["price"]) == "22.00"


def test_names_texts_and_addresses_do_not() -> None:
    row = {
        "name": "Contoso",
        "client_name": "Contoso",
        "notes_1": "call Ann",
        "reference": "PO-4711",
        "phone": "030-123456",
        "street": "1 Main Street",
        "email": "ann@contoso.com",
        "website": "www.contoso.com",
        "unheard_of": "Contoso",
        "company_number": 47110815,
        "deep": {"who": ["Ann Smith"]},
    }
    [found] = answer([row])
    text = json.dumps(found).casefold()
    assert found.keys() == row.keys()
    assert not [one for one in ("contoso", "ann", "4711", "main", "smith", "123456") if one in text]
    assert found["name"] == found["client_name"] == found["unheard_of"]
    assert found["email"].endswith("@example.com")
    assert found["company_number"] == 0


def test_ids_are_the_same_everywhere_and_keep_order_and_sign() -> None:
    rows = [
        {"id": 70, "client_id": Decimal("12.0"), "_itemid": 407, "item_code": "407", "lines": [{"id": 9, "ihid": 70}]},
        {"id": -240, "client_id": 5}, {"id": -237, "client_id": 0},
    ]  # fmt: skip
    [(asked, found)] = scrubbed(said(rows, f"{HALO}/api/Invoice/70?client_ids=12,5&page_no=3"))
    first, second, third = found
    assert (second["client_id"], first["lines"][0]["id"], first["client_id"], first["id"], first["_itemid"]) == (
        1001, 1002, 1003, 1004, 1005,
    )  # fmt: skip
    assert str(first["client_id"]) == "1003"
    assert first["item_code"] == "1005"
    assert first["lines"][0]["ihid"] == first["id"]
    assert second["id"] < third["id"] < 0
    assert third["client_id"] == 0
    assert asked.uri == "https://halo.example/api/Invoice/1004?client_ids=1003,1001&page_no=3"


def test_guids_are_the_same_in_address_body_and_text() -> None:
    item = {"id": GUID, "productName": "Plan", "description": f"Plan {GUID.upper()}"}
    [(asked, found)] = scrubbed(said([item], f"{PAX8}/invoices/{GUID}/items?page=0"))
    pseudonym = "00000000-0000-4000-8000-000000000001"
    assert found == [{"id": pseudonym, "productName": "Plan", "description": f"Plan {pseudonym}"}]
    assert asked.uri == f"https://pax8.example/v1/invoices/{pseudonym}/items?page=0"


def test_a_description_keeps_the_words_by_which_azure_is_recognised() -> None:
    text = f"Microsoft Azure Plan - Arrears Charge - Contoso Prod - {GUID} - Virtual Machines"
    item = {
        "productName": "Microsoft Azure Plan",
        "description": text,
        "details": "Nov Partial: Contoso (Canceled) prorated",
    }
    [found] = answer([item])
    guid = "00000000-0000-4000-8000-000000000001"
    assert found["description"] == f"Microsoft Azure Plan - Arrears Charge - x x - {guid} - Virtual Machines"
    assert found["details"] == "Nov Partial: x (Canceled) prorated"


def test_a_customer_in_the_name_of_a_product_is_no_catalogue() -> None:
    [found] = answer([{"companyName": "Contoso", "sku": "CON-1", "productName": "Support for Contoso"}])
    assert found["sku"] == "CON-1"
    assert "Contoso" not in json.dumps(found)


def test_marks_and_what_scenes_send_stay() -> None:
    mark = "[bs:0123456789abcdef0123:c0ffee00:7]"
    line = {"item_longdescription": f"Seat of Ann\n{mark}", "item_shortdescription": "Our seat", "productnumber": mark}
    [(_, found)] = scrubbed(said([line]), keep=frozenset({"Our seat"}))
    assert found == [{**line, "item_longdescription": f"Text 1\n{mark}"}]
    note = "billingsync key=0123456789abcdef0123 installation=c0ffee00 period=2026-11"
    assert answer([{"internal_note": note}]) == [{"internal_note": note}]


def test_of_a_login_only_the_names_stay() -> None:
    asked = {"client_id": "true-id", "client_secret": "s3cret", "audience": "https://api.pax8.com", "grant_type": "x"}
    token = {
        "access_token": "eyJ.true",
        "refresh_token": "r",
        "id_token": "i",
        "expires_in": 86400,
        "token_type": "Bearer",
    }
    login = said(token, f"{PAX8}/token", asked=asked, method="POST")
    (first, answered), (second, _) = scrubbed(login, said([], f"{PAX8}/invoices"))
    assert json.loads(first.body) == asked | {"client_id": "client-id", "client_secret": "client-secret"}
    assert answered == token | {"access_token": "token-1", "refresh_token": "", "id_token": ""}
    assert second.headers["authorization"] == "Bearer token-1"


def test_a_form_login_keeps_its_form() -> None:
    request, response = said({"access_token": "t"}, f"{HALO}/auth/token?tenant=acme", method="POST")
    form = b"grant_type=client_credentials&client_id=a&client_secret=s3cret&scope=all"
    form_request = Request("POST", request.uri, form, {"content-type": "application/x-www-form-urlencoded"})
    [(found, _)] = scrubbed((form_request, response))
    assert found.body == b"grant_type=client_credentials&client_id=client-id&client_secret=client-secret&scope=all"
    assert found.uri == "https://halo.example/auth/token?tenant=tenant-1"


def test_authinfo_names_the_example_host() -> None:
    found = answer({"auth_url": f"{HALO}/auth", "tenant_id": "acme"})
    assert found == {"auth_url": "https://halo.example/auth", "tenant_id": "tenant-1"}


def test_headers_that_matter_alone_are_kept() -> None:
    request, response = Scrubber(ADDRESSES, ()).exchange(*said({}))
    assert dict(request.headers) == {"authorization": "Bearer token-1", "content-type": "application/json"}
    assert response["headers"] == {"content-type": ["application/json"]}
    assert response["status"] == {"code": 200, "message": ""}


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b"", ""),
        (b"<html><title>acme</title></html>", "<html><head><title>scrubbed</title></head><body></body></html>"),
        (b"Rate Limit Reached - 300 Requests per rolling 5 minute window.", None),
        (b"acme is away", "scrubbed"),
        (b'"Invoice 4711 is closed, ask ann@contoso.com"', "Invoice 0 is closed, ask someone@example.com"),
    ],
)
def test_what_servers_say_otherwise(body: bytes, left: str | None) -> None:
    assert answer(body, status=400) == (body.decode() if left is None else left)


def test_an_error_says_what_it_is_but_not_about_whom() -> None:
    listed = said([{"id": 1, "companyName": "Contoso"}])
    error = said({"type": "NOT_FOUND", "message": f"Company Contoso: {GUID}", "status": 404, "details": []}, status=404)
    found = scrubbed(listed, error)[1][1]
    assert found["type"] == "NOT_FOUND"
    assert "Contoso" not in found["message"]
    assert found["message"].startswith("Company Name")
    assert found["message"].endswith(": 00000000-0000-4000-8000-000000000001")


def test_a_call_to_anybody_else_is_not_kept() -> None:
    with pytest.raises(Leak, match="elsewhere"):
        scrubbed(said({}, "https://elsewhere.test/x"))


@pytest.mark.parametrize("left", ["Contoso", "s3cret", "acme.halopsa.com", "ann@contoso.com"])
def test_what_is_left_is_found(left: str) -> None:
    scrubber = Scrubber(ADDRESSES, ())
    names = said([{"companyName": "Contoso", "mail": "ann@contoso.com"}])
    login = said({}, asked={"client_secret": "s3cret"}, method="POST")
    scrubber.learn([names, login], [])
    scrubber.check("nobody is here")
    with pytest.raises(Leak):
        scrubber.check(f"body: '{left}'")
