"""The emulated HaloPSA: login, rights, lists. Writing has a file of its own."""

from decimal import Decimal

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


# --- login and rights ------------------------------------------------------------------------------------------------


def test_discovery(caller, sandbox):
    url = f"{sandbox.url}/halo/api/authinfo"
    found = caller.http.get(url)
    assert found.json() == {"auth_url": f"{sandbox.url}/halo/auth", "tenant_id": ""}
    sandbox.change(authinfo="404")
    assert (caller.http.get(url).status_code, caller.http.get(url).content) == (404, b"")


def test_token_is_a_form(caller, sandbox):
    answer = caller.halo_token()
    assert (
        answer.status_code == 200 and answer.json()["expires_in"] == 3_600 and answer.json()["token_type"] == "Bearer"
    )
    wrong = caller.halo_token(client_secret="wrong")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    assert caller.halo_token(scope="").json()["error"] == "invalid_scope"
    assert caller.halo_token(scope="read:everything").json()["error"] == "invalid_scope"
    assert caller.halo_token(grant_type="password").status_code == 400
    assert caller.http.post(f"{sandbox.url}/halo/auth/token", json={}).status_code == 400


def test_token_expires_and_can_be_voided(caller, sandbox):
    assert caller.http.get(f"{sandbox.url}/halo/api/Tax").status_code == 401
    assert caller.halo("/Tax").status_code == 200
    sandbox.clock.advance(3_601)
    assert (caller.halo("/Tax").status_code, caller.halo("/Tax").content) == (401, b"")
    caller.forget()
    assert caller.halo("/Tax").status_code == 200
    sandbox.void_tokens()
    assert caller.halo("/Tax").status_code == 401
    sandbox.reset(SandboxOptions(halo_tokens_void_at_call=2))
    caller.forget()
    assert [caller.halo("/Tax").status_code for _ in range(2)] == [200, 401]


def test_tenant(caller, sandbox):
    sandbox.change(tenant="acme")
    assert caller.halo_token().status_code == 500
    assert caller.halo_token(tenant="other").status_code == 500
    assert caller.halo_token(tenant="acme").status_code == 200


def test_scopes_and_role(caller, sandbox):
    token = caller.halo_token(scope="read:customers read:invoices").json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    api = f"{sandbox.url}/halo/api"
    assert caller.http.get(f"{api}/Client", headers=headers).status_code == 200
    assert caller.http.get(f"{api}/Item", headers=headers).status_code == 403
    assert caller.http.post(f"{api}/Invoice", headers=headers, json=[{}]).status_code == 403
    sandbox.change(role_lacks=("invoices",))
    assert caller.halo("/Invoice").status_code == 200 and caller.halo("/Invoice/90001").status_code == 401
    assert caller.halo("/Invoice", "POST", [{"client_id": 214}]).status_code == 401


def test_required_header_and_rate_limit(caller, sandbox):
    assert caller.halo("/Tax").status_code == 200
    sandbox.change(required_header=("x-bypass", "yes"))
    assert caller.halo("/Tax").status_code == 403
    sandbox.reset(SandboxOptions(halo_calls_per_5_minutes=2))
    caller.forget()
    answers = [caller.halo("/Tax") for _ in range(2)]  # and the token: all calls count
    assert [answer.status_code for answer in answers] == [200, 429]
    assert "Rate Limit" in answers[1].text and "Retry-After" not in answers[1].headers
    sandbox.clock.advance(301)
    assert caller.halo("/Tax").status_code == 200


# --- lists -----------------------------------------------------------------------------------------------------------


def ids(answer, key="invoices"):
    return [row["id"] for row in json(answer)[key]]


def all_invoices(sandbox):
    return sorted(row["id"] for row in sandbox.halo.invoices.values() if not row["invoicetype"])


def paged(caller, path="/Invoice", key="invoices", size=40, **query):
    found = []
    for number in range(1, 5):
        found += ids(caller.halo(path, pageinate="true", page_no=number, page_size=size, order="id", **query), key)
    return found


def test_a_list_stops_at_fifty_silently(caller, sandbox):
    answer = json(caller.halo("/Invoice"))
    assert len(answer["invoices"]) == 50 and answer["record_count"] == len(all_invoices(sandbox)) > 100
    assert len(ids(caller.halo("/Invoice", count=100_000))) == answer["record_count"]
    assert len(ids(caller.halo("/Invoice", count=3))) == 3
    sandbox.change(list_cap=20)
    assert len(ids(caller.halo("/Invoice"))) == 20


def test_paging(caller, sandbox):
    assert paged(caller) == all_invoices(sandbox)
    answer = json(caller.halo("/Invoice", pageinate="true", page_no=2, page_size=7))
    assert (answer["page_no"], answer["page_size"], len(answer["invoices"])) == (2, 7, 7)
    assert len(ids(caller.halo("/Invoice", pageinate="true"))) == 50
    sandbox.change(list_paging="repeats")
    assert paged(caller) == all_invoices(sandbox)[:40] * 4
    sandbox.change(list_paging="ignored")
    assert paged(caller) == all_invoices(sandbox)[:50] * 4
    sandbox.change(list_paging="honoured", max_page_size=10)
    assert len(ids(caller.halo("/Invoice", pageinate="true", page_size=100))) == 10


def test_order(caller, sandbox):
    assert ids(caller.halo("/Invoice", count=500, order="id", orderdesc="true")) == all_invoices(sandbox)[::-1]
    rows = json(caller.halo("/Invoice", count=500, order="client_id", order2="id", orderdesc2="true"))["invoices"]
    assert rows == sorted(rows, key=lambda row: (row["client_id"], -row["id"]))
    dates = [row["invoice_date"] for row in json(caller.halo("/Invoice", count=500, order="invoice_date"))["invoices"]]
    assert dates == sorted(dates)


def test_lines_only_when_asked_for(caller, sandbox):
    assert "lines" not in json(caller.halo("/Invoice"))["invoices"][0]
    assert json(caller.halo("/Invoice", includelines="true"))["invoices"][0]["lines"]
    assert "lines" not in json(caller.halo("/Invoice/90001"))
    assert json(caller.halo("/Invoice/90001", includedetails="true")) == sandbox.halo.invoices[90_001]
    sandbox.change(list_has_lines=False)
    assert "lines" not in json(caller.halo("/Invoice", includelines="true"))["invoices"][0]


def test_client_filters(caller, sandbox):
    of_contoso = [row_id for row_id in all_invoices(sandbox) if sandbox.halo.invoices[row_id]["client_id"] == 214]
    assert sorted(ids(caller.halo("/Invoice", client_id=214, count=500))) == of_contoso and len(of_contoso) > 50
    both = ids(caller.halo("/Invoice", client_ids="214,215", count=500))
    assert {sandbox.halo.invoices[row_id]["client_id"] for row_id in both} == {214, 215}
    sandbox.change(client_ids_filter="ignored")
    assert len(ids(caller.halo("/Invoice", client_ids="214,215", count=500))) == len(all_invoices(sandbox))


def test_other_invoice_filters(caller, sandbox):
    rows = sandbox.halo.invoices
    assert all(rows[row_id]["posted"] for row_id in ids(caller.halo("/Invoice", postedonly="true")))
    assert not any(rows[row_id]["posted"] for row_id in ids(caller.halo("/Invoice", notpostedonly="true")))
    credits = set(ids(caller.halo("/Invoice", includecredits="true", count=500))) - set(all_invoices(sandbox))
    assert credits and all(rows[row_id]["creditlinkedtoinvoiceid"] for row_id in credits)
    assert ids(caller.halo("/Invoice", search="C216-serv")) == [
        row_id for row_id, row in rows.items() if row["reference"] == "C216-services"
    ]
    assert ids(caller.halo("/Invoice", third_party_id="INV-90003")) == [90_003]
    dated = {"datesearch": "invoice_date", "start_date": "2026-10-01", "end_date": "2026-10-31", "count": 500}
    october = ids(caller.halo("/Invoice", **dated))
    assert october and all(rows[row_id]["invoice_date"].startswith("2026-10") for row_id in october)
    sandbox.change(date_filter="ignored")
    assert len(ids(caller.halo("/Invoice", **dated))) == len(all_invoices(sandbox))


def test_recurring_have_negative_ids(caller, sandbox):
    found = ids(caller.halo("/recurringinvoice", count=500))
    assert found and set(found) == set(sandbox.halo.recurring) and max(found) < 0
    assert not set(found) & set(ids(caller.halo("/Invoice", count=500)))
    assert json(caller.halo(f"/RecurringInvoice/{found[0]}", includedetails="true"))["lines"]
    assert caller.halo(f"/RecurringInvoice/{-found[0]}").status_code == 404


def test_errors_have_the_shapes_that_were_recorded(caller, sandbox):
    missing = caller.halo("/Invoice/1")
    assert (missing.status_code, missing.content) == (404, b"")
    assert caller.halo("/Invoice/probe").json() == {"id": ["The value 'probe' is not valid."]}
    assert isinstance(caller.halo("/Invoice/lines").json(), str)
    assert caller.halo("/NoSuchThing").status_code == 404
    assert caller.halo("/Invoice", "PUT", []).status_code == 405


def test_paths_are_case_insensitive_and_unknown_parameters_reported(caller, sandbox):
    assert json(caller.halo("/INVOICE", Count="1")) == json(caller.halo("/invoice", count="1"))
    assert sandbox.ignored == []
    caller.halo("/Invoice", clientid=214)
    assert sandbox.ignored == [("/invoice", "?clientid")]


def test_inactive_clients(caller, sandbox):
    inactive = [row["id"] for row in sandbox.halo.clients.values() if row["inactive"]]
    usual = ids(caller.halo("/Client", count=500), "clients")
    assert inactive and not set(inactive) & set(usual)
    assert set(inactive) < set(ids(caller.halo("/Client", count=500, includeinactive="true"), "clients"))
    only = caller.halo("/Client", count=500, includeinactive="true", includeactive="false")
    assert ids(only, "clients") == inactive
    sandbox.change(inactive_clients="listed")
    assert set(inactive) < set(ids(caller.halo("/Client", count=500), "clients"))


@pytest.mark.parametrize(
    ("field", "there"),
    [
        ("all", {"default_currency_code", "default_currency_code_name", "currencyisocode"}),
        ("id", {"default_currency_code"}),
        ("name", {"default_currency_code_name"}),
        ("iso", {"currencyisocode"}),
        ("none", set()),
    ],
)
def test_where_a_client_carries_its_currency(field, there, caller, sandbox):
    sandbox.change(currency_field=field)
    client = json(caller.halo("/Client", search="fabrikam"))["clients"][0]
    fields = {"default_currency_code", "default_currency_code_name", "currencyisocode"}
    assert fields & client.keys() == there
    assert {"EUR", 2} >= {client[name] for name in there}
    assert {row["code"]: row["id"] for row in json(caller.halo("/Currency"))}["EUR"] == 2


def test_short_rows(caller, sandbox):
    assert "externalreference" in json(caller.halo("/Item"))["items"][0]
    sandbox.change(client_rows="short", item_rows="short")
    client = json(caller.halo("/Client"))["clients"][0]
    assert "dontinvoice" not in client and json(caller.halo(f"/Client/{client['id']}"))["currencyisocode"]
    item = json(caller.halo("/Item"))["items"][0]
    assert "externalreference" not in item and "externalreference" in json(caller.halo(f"/Item/{item['id']}"))


def test_items_and_small_lists(caller, sandbox):
    usual = ids(caller.halo("/Item", count=500), "items")
    assert len(usual) > 50 and len(ids(caller.halo("/Item"), "items")) == 50
    assert len(ids(caller.halo("/Item", count=500, includeinactive="true"), "items")) == len(usual) + 1
    licences = json(caller.halo("/Item", count=500, assetgroup_id=33))["items"]
    assert licences and {row["assetgroup_name"] for row in licences} == {"Licences"}
    assert "item_suppliers" not in licences[0] and "item_suppliers" in json(caller.halo(f"/Item/{licences[0]['id']}"))
    for path in ("/AssetGroup", "/Tax", "/Currency", "/Lookup"):
        assert isinstance(json(caller.halo(path)), list)
    assert {row["name"] for row in json(caller.halo("/Supplier"))["suppliers"]} == {"Pax8", "Harbor Hardware Supply"}
    site = json(caller.halo("/Site", client_id=214))["sites"]
    assert [row["client_id"] for row in site] == [Decimal("214.0")]
    assert json(caller.halo("/Tax/12"))["value"] == 19
