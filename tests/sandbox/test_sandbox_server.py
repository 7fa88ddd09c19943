"""The sandbox as a server: starting, stopping, control, state; and its answers against the vendors' own files."""

import json as plain_json
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest

from billingsync.sandbox.caller import Caller, json
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.sandbox.wire import decode, encode

SMALL = SandboxOptions(clients=2, charges=6, trouble=False, history=0)
LINES = [{"item_shortdescription": "a", "qty_order": 1, "unit_price": 2}]


@pytest.fixture
def sandbox():
    with Sandbox(SMALL) as sandbox:
        yield sandbox


@pytest.fixture
def caller(sandbox):
    with Caller(sandbox.environment()) as caller:
        yield caller


def test_environment_is_all_a_user_needs(sandbox, caller):
    assert set(sandbox.environment()) == {f"BILLINGSYNC_{name}" for name in (
        "PAX8__BASE_URL", "PAX8__TOKEN_URL", "PAX8__AUDIENCE", "PAX8__CLIENT_ID", "PAX8__CLIENT_SECRET",
        "PAX8__CALLS_PER_MINUTE", "HALO__BASE_URL", "HALO__CLIENT_ID", "HALO__CLIENT_SECRET",
        "HALO__CALLS_PER_MINUTE")}  # fmt: skip
    assert caller.pax8("/invoices").status_code == caller.halo("/Client").status_code == 200


def test_stops_at_once_even_while_an_answer_is_held():
    with Sandbox(SMALL) as sandbox, Caller(sandbox.environment()) as caller:
        sandbox.faults.add("halo:GET:/Tax:1:black_hole")
        caller.halo_token()
        broken = []

        def wait():
            try:
                caller.halo("/Tax")
            except httpx2.TransportError as error:
                broken.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        while not any(call.fault for call in sandbox.calls):
            time.sleep(0.005)
        started = time.monotonic()
        sandbox.__exit__(None, None, None)
        assert time.monotonic() - started < 1
        waiting.join(timeout=5)
        assert len(broken) == 1


def test_latency(sandbox, caller):
    caller.halo("/Tax")
    sandbox.change(latency_ms=60)
    started = time.monotonic()
    caller.halo("/Tax")
    assert time.monotonic() - started >= 0.06


def test_paths_that_nobody_has(sandbox, caller):
    assert caller.http.get(f"{sandbox.url}/elsewhere").status_code == 404
    assert caller.http.get(f"{sandbox.url}/_sandbox/nothing").status_code == 404


def test_state_goes_out_and_back(sandbox, caller):
    before = sandbox.state()
    caller.halo("/Invoice", "POST", [{"client_id": 214, "lines": LINES}])
    after = sandbox.state()
    assert before != after
    sandbox.restore(before)
    assert sandbox.state() == before
    caller.halo("/Invoice", "POST", [{"client_id": 214, "lines": LINES}])
    assert sandbox.state() == after  # the same calls give the same end: no clock, no chance
    assert decode(encode(after)) == after


def test_state_keeps_late_writes(sandbox, caller):
    sandbox.faults.add("halo:POST:/Invoice:1:late")
    caller.halo("/Invoice", "POST", [{"client_id": 214, "lines": LINES}])
    state = sandbox.state()
    count = len(sandbox.halo.invoices)
    sandbox.reset(SMALL)
    sandbox.restore(decode(encode(state)))
    assert len(sandbox.halo.invoices) == count
    assert sandbox.land() == 1 and len(sandbox.halo.invoices) == count + 1


def test_control(sandbox, caller):
    def control(method, path, body=None):
        answer = caller.http.request(
            method, f"{sandbox.url}/_sandbox/{path}", content=None if body is None else encode(body)
        )
        assert answer.status_code == 200, answer.text
        return json(answer)

    assert control("GET", "environment") == sandbox.environment()
    state = control("GET", "state")
    assert len(state["halo"]["invoices"]) == len(sandbox.halo.invoices)
    assert state["counts"]["pax8"]["items"] == sum(map(len, sandbox.pax8.items.values()))
    control("POST", "faults", ["halo:GET:/Tax:1:500", {"kind": "503", "path": "/Currency", "times": None}])
    assert [caller.halo("/Tax").status_code, caller.halo("/Currency").status_code] == [500, 503]
    control("DELETE", "faults")
    assert caller.halo("/Currency").status_code == 200
    caller.halo("/Invoice", "POST", [{"client_id": 214, "colour": "red", "_validateonly": True}])
    call = control("GET", "calls")[-1]
    assert (call["method"], call["path"], call["status"], call["effect"]) == ("POST", "/Invoice", 201, True)
    assert control("GET", "ignored") == [["/Invoice", "colour"]]
    assert [alarm["kind"] for alarm in control("GET", "alarms")] == ["command_property"]
    control("POST", "halo", {"clients": [{"id": 214, "inactive": True}], "taxes": [{"id": 12, "_delete": True}]})
    assert sandbox.halo.clients[214]["inactive"] and 12 not in sandbox.halo.taxes
    control("POST", "pax8", {"companies": [{"id": "new", "name": "New"}], "items": {"none": [{"id": "x"}]}})
    assert sandbox.pax8.companies[-1]["name"] == "New" and sandbox.pax8.items["none"] == [{"id": "x"}]
    control("POST", "pax8", {"replace": True, "companies": [], "hidden": ["h"]})
    assert sandbox.pax8.companies == [] and sandbox.pax8.hidden == {"h"}
    control("POST", "release")
    assert sandbox.pax8.hidden == set()
    control("POST", "options", {"post_answer": "list", "marker_fields_kept": []})
    assert sandbox.options.post_answer == "list" and sandbox.options.marker_fields_kept == ()
    control("POST", "clock", {"advance": 4_000})
    assert caller.halo("/Tax").status_code == 401
    assert control("POST", "land") == {"landed": 0}
    control("POST", "state", state)
    assert sandbox.halo.taxes[12]["value"] == 19
    control("DELETE", "calls")
    assert sandbox.calls == []
    control("POST", "reset")
    assert len(sandbox.pax8.companies) == 2


def test_control_explains_what_is_wrong(sandbox, caller):
    def said(path, body):
        answer = caller.http.post(f"{sandbox.url}/_sandbox/{path}", content=body)
        assert answer.status_code == 400
        return answer.json()["error"]

    assert "melt" in said("faults", b'"halo:GET:/Tax:1:melt"')
    assert "lines_semantics" in said("options", b'{"lines_semantics": "x"}')
    assert said("faults", b"{") and said("options", b'{"no_such_switch": 1}')


SERVE = """
import json, sys
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import serve
serve(SandboxOptions(clients=2, charges=6), 0, announce=lambda environment: print(json.dumps(environment), flush=True))
"""


def test_a_process_of_its_own():
    process = subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        with Caller(plain_json.loads(process.stdout.readline())) as caller:
            assert caller.halo("/Client").status_code == caller.pax8("/companies").status_code == 200
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=10)
    assert process.returncode == -15 and errors == ""


def test_a_port_that_is_taken(sandbox):
    second = Sandbox(SMALL, port=int(sandbox.url.rpartition(":")[2]))
    with pytest.raises(OSError, match="in use"):
        second.__enter__()


# --- against the vendors' own files, where they are at hand ----------------------------------------------------------

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
with_reference = pytest.mark.skipif(not REFERENCE.exists(), reason="../shared/reference is not here")


def halo_names(schema):
    files = REFERENCE / "halopsa"
    documented = plain_json.loads((files / "halo-openapi-v2.2025-03-27.billing-subset.json").read_text())
    added = plain_json.loads((files / "schema-additions-2026.json").read_text())
    return set(documented["components"]["schemas"][schema]["properties"]) | set(added.get(schema, {}))


@with_reference
def test_halo_answers_hold_documented_properties_only():
    with Sandbox() as sandbox:
        pass
    tables = sandbox.halo
    schemas = {
        "InvoiceHeader": [*tables.invoices.values(), *tables.recurring.values()],
        "Item": tables.items.values(),
        "Area": tables.clients.values(),
        "Site": tables.sites.values(),
        "Tax": tables.taxes.values(),
        "Generic": tables.groups.values(),
        "Currency": tables.currencies.values(),
        "Lookup": tables.lookups.values(),
        "Company": tables.suppliers.values(),
    }
    for schema, rows in schemas.items():
        assert {name for row in rows for name in row} <= halo_names(schema), schema
    lines = [line for row in schemas["InvoiceHeader"] for line in row["lines"]]
    assert {name for line in lines for name in line} <= halo_names("InvoiceDetail")


@with_reference
def test_halo_schema_is_the_documented_one():
    from billingsync.sandbox import halo_schema

    for ours, schema in ((halo_schema.HEADER, "InvoiceHeader"), (halo_schema.LINE, "InvoiceDetail"),
                         (halo_schema.ITEM, "Item"), (halo_schema.GROUP, "Generic")):  # fmt: skip
        assert set(ours) == halo_names(schema)


@with_reference
def test_pax8_answers_hold_documented_properties_only():
    documented = plain_json.loads((REFERENCE / "pax8" / "partner-endpoints.json").read_text())["components"]["schemas"]
    with Sandbox(SandboxOptions(trouble=False)) as sandbox:
        pass
    names = {name: set(schema["properties"]) for name, schema in documented.items() if "properties" in schema}
    names["Invoice"].add("status")  # in all of Pax8's examples, but not in its schema
    schemas = {
        "Invoice": sandbox.pax8.invoices,
        "Company": sandbox.pax8.companies,
        "Product": sandbox.pax8.products,
        "Subscription": sandbox.pax8.subscriptions,
        "InvoiceItem": [row for items in sandbox.pax8.items.values() for row in items],
    }
    for schema, rows in schemas.items():
        assert {name for row in rows for name in row} <= names[schema], schema
