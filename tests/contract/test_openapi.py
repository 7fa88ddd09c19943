"""Whole months through the command line, every call of which is held against the vendors' OpenAPI files."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit

import pytest
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serializers import yamlserializer

from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox

from .openapi import MISSING, REFERENCE, problems_of_answer, problems_of_request, vendors
from .tape import CASSETTES, Heard, overheard

# What the sandbox's answers are known to have otherwise, with the reason.
KNOWN = {
    "productId is no uuid",  # seed_pax8: products of the special cases have no id, so theirs is empty
}

if not (REFERENCE / "halopsa").is_dir():
    pytest.skip(MISSING, allow_module_level=True)

TAPES = sorted(CASSETTES.glob("*/*.yaml"))
QUICK = {
    "BILLINGSYNC_RETRY__FIRST_WAIT_S": "0.01",
    "BILLINGSYNC_HALO__ABSENCE_S": "1",
    "BILLINGSYNC_LOG__LEVEL": "error",
}
# The second month changes and removes lines of the first.
COMMANDS = {
    "header": ("doctor", "periods", "plan 2026-10", "run 2026-10 --yes", "run 2026-11 --yes", "plan"),
    "updatelines": ("run 2026-10 --yes", "run 2026-11 --yes"),
    "add_lines": ("run 2026-11 --yes",),
}
CODES = '[products]\nincome_account = "200"\nexpense_account = "310"\ntax_code = "12"\n'


def billingsync(command: str) -> None:
    from billingsync.cli import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(command.split())
    assert code in (0, 3), f"billingsync {command}: exit {code}\n{said.getvalue()}"


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Heard]]:
    """By vendor: what was said in three months, each posted in another way; all three behaviors, items created."""
    heard: dict[str, list[Heard]] = {"Pax8": [], "HaloPSA": []}
    with Sandbox(SandboxOptions(clients=1)) as sandbox:
        for write_lines, commands in COMMANDS.items():
            folder = tmp_path_factory.mktemp(write_lines)
            sandbox.reset(SandboxOptions(clients=5, charges=60, trouble=False, history=1))
            made = _month(sandbox, folder, write_lines, commands)
            address = sandbox.environment()["BILLINGSYNC_PAX8__BASE_URL"]
            for one in made:
                heard["Pax8" if str(one.url).startswith(address) else "HaloPSA"].append(one)
    return heard


def _month(sandbox: Sandbox, folder: Path, write_lines: str, commands: Sequence[str]) -> list[Heard]:
    _write_rules(sandbox, folder / "rules")
    environment = {
        **sandbox.environment(),
        **QUICK,
        "BILLINGSYNC_HALO__WRITE_LINES": write_lines,
        "BILLINGSYNC_HALO__MARKER": {"updatelines": "productnumber", "add_lines": "customfield:101"}.get(
            write_lines, "longdescription"
        ),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BILLINGSYNC_")}
    here = Path.cwd()
    with mock.patch.dict(os.environ, {**kept, **environment}, clear=True), overheard() as made:
        os.chdir(folder)
        try:
            for command in commands:
                billingsync(command)
        finally:
            os.chdir(here)
    assert sandbox.alarms == []
    return made


def _write_rules(sandbox: Sandbox, folder: Path) -> None:
    """One client on a recurring invoice, one on its latest invoice, the others on new ones."""
    (folder / "clients").mkdir(parents=True)
    (folder / "defaults.toml").write_text(CODES, encoding="utf-8")
    of_recurring = {row["client_id"]: row["id"] for row in sandbox.halo.recurring.values()}
    clients = {row["id"]: row["name"] for row in sandbox.halo.clients.values()}
    open_ones = [
        row["client_id"]
        for row in sandbox.halo.invoices.values()
        if not row["posted"] and not row["voided"] and not row["emailstatus"]
    ]
    latest = open_ones[0]
    recurring = next(number for number in of_recurring if number != latest and number in (214, 215, 216, 217, 218))
    companies = {row["name"]: row["id"] for row in sandbox.pax8.companies}
    assert clients and companies
    (folder / "clients" / "latest.toml").write_text(
        _client(sandbox, latest) + '[invoice]\nbehavior = "latest"\nwhen_latest_closed = "new"\n', encoding="utf-8"
    )
    (folder / "clients" / "recurring.toml").write_text(
        _client(sandbox, recurring)
        + f'[invoice]\nbehavior = "recurring"\nrecurring_invoice = {of_recurring[recurring]}\n',
        encoding="utf-8",
    )


def _client(sandbox: Sandbox, client_id: int) -> str:
    from billingsync.sandbox import cast

    member = next(one for one in cast.members(1, 5, trouble=False) if one.client_id == client_id)
    return f'[client]\npax8_company = "{member.company_id}"\nhalo_client = {client_id}\n'


def path_of(one: Heard, vendor: str) -> str:
    path = urlsplit(str(one.url)).path
    return path.removeprefix("/pax8/v1" if vendor == "Pax8" else "/halo/api")


def of(calls: dict[str, list[Heard]], vendor: str) -> Iterator[tuple[str, Heard]]:
    for one in calls[vendor]:
        if vendor == "Pax8" or not one.is_login:  # HaloPSA's login stands beside its API, and in no document
            yield path_of(one, vendor), one


@pytest.mark.parametrize("vendor", ["Pax8", "HaloPSA"])
def test_what_we_send_is_documented(calls: dict[str, list[Heard]], vendor: str) -> None:
    problems = {
        problem
        for path, one in of(calls, vendor)
        for problem in problems_of_request(vendors()[vendor], one.method, path, one.url.query.decode(), one.body)
    }
    assert sorted(problems) == []


@pytest.mark.parametrize("vendor", ["Pax8", "HaloPSA"])
def test_what_the_sandbox_answers_is_documented(calls: dict[str, list[Heard]], vendor: str) -> None:
    problems = {
        problem
        for path, one in of(calls, vendor)
        if one.status is not None and one.status < 300 and one.answer and path != "/authinfo"
        for problem in problems_of_answer(vendors()[vendor], one.method, path, one.answer)
        if problem.rpartition(".")[2] not in KNOWN
    }
    assert sorted(problems) == []


def test_the_months_made_all_the_calls_that_a_bill_takes(calls: dict[str, list[Heard]]) -> None:
    made = {
        (one.method, operation.path)
        for vendor in calls
        for path, one in of(calls, vendor)
        if (operation := vendors()[vendor].operation(one.method, path))
    }
    assert made >= {
        ("POST", "/token"), ("GET", "/invoices"), ("GET", "/invoices/{invoiceId}/items"), ("GET", "/companies"),
        ("GET", "/Client"), ("GET", "/Item"), ("GET", "/Item/{id}"), ("POST", "/Item"), ("GET", "/AssetGroup"),
        ("POST", "/AssetGroup"), ("GET", "/Invoice"), ("GET", "/Invoice/{id}"), ("POST", "/Invoice"),
        ("POST", "/Invoice/updatelines"), ("GET", "/RecurringInvoice"), ("GET", "/RecurringInvoice/{id}"),
        ("POST", "/RecurringInvoice"), ("POST", "/RecurringInvoice/updatelines"),
    }  # fmt: skip


@pytest.mark.parametrize("tape", TAPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_cassettes_are_documented(tape: Path) -> None:
    """Every request on them, and every answer to it; composed ones may hold what is unknown on purpose."""
    vendor = vendors()["Pax8" if tape.parent.name == "pax8" else "HaloPSA"]
    requests, responses = FilesystemPersister.load_cassette(tape, yamlserializer)[:2]
    problems: set[str] = set()
    for request, response in zip(requests, responses, strict=True):
        path = request.path.removeprefix("/v1" if vendor.name == "Pax8" else "/api")
        if path in ("/auth/token", "/authinfo"):
            continue
        query = urlsplit(request.uri).query
        problems |= set(problems_of_request(vendor, request.method, path, query, request.body))
        body = response["body"]["string"]
        if response["status"]["code"] < 300 and body[:1] in (b"{", b"[") and tape.stem != "error_inside":
            problems |= set(problems_of_answer(vendor, request.method, path, body))
    unknown = ("unknownProperty", "futureField", "unknown_property")
    problems = {one for one in problems if not any(f".{name} is no" in one for name in unknown)}
    assert sorted(one for one in problems if one.rpartition(".")[2] not in KNOWN) == []


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("PUT /Invoice []", " is not documented"),
        ("GET /Invoices", " is not documented"),
        ("GET /Invoice?clientid=1", "?clientid is not documented"),
        ("GET /Invoice?client_ids=", "?client_ids is empty"),
        ("POST /Invoice", " has no body"),
        ("POST /Invoice {}", " is dict, documented as array"),
        ('POST /Invoice [{"clientid":1}]', "[0].clientid is no property of InvoiceHeader"),
        ('POST /Invoice [{"client_id":"1"}]', "[0].client_id is str, documented as integer"),
        ('POST /Invoice [{"client_id":1.5}]', "[0].client_id is Decimal, documented as integer"),
        ('POST /Invoice [{"total":1}]', "[0].total is read only"),
        ('POST /Invoice [{"lines":[{"price":1}]}]', "[0].lines[0].price is no property of InvoiceDetail"),
        ('POST /Invoice [{"lines":[{"tax_code":1}]}]', "[0].lines[0].tax_code is int, documented as string"),
        ('POST /Invoice [{"invoice_date":"5.11.2026"}]', "[0].invoice_date is no date-time: '5.11.2026'"),
        ('POST /Invoice [{"last_change_seq":"1"}]', "[0].last_change_seq is str, documented as integer"),
        ('POST /Invoice [{"_validateonly":true}]', "[0]._validateonly is a command"),
        ('POST /AssetGroup [{"use":1}]', "[0].use is no property of Generic"),
        ('POST /Item [{"inactive":true}]', "[0].inactive is no property of Item"),
    ],
)
def test_the_check_finds(asked: str, problem: str) -> None:
    method, address, body = [*asked.split(), ""][:3]
    path, _, query = address.partition("?")
    found = list(problems_of_request(vendors()["HaloPSA"], method, path, query, body.encode()))
    assert found == [f"{method} {path}{problem}"]


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("/Client", b'{"record_count": 1, "clients": [{"id": "1"}]}', "[0].id is str, documented as integer"),
        ("/Client", b'{"clients": []}', " has no record_count"),
        ("/Client", b'{"record_count": 0, "rows": 0, "clients": []}', ".rows is nothing that a list has"),
        ("/Client", b'{"record_count": 1, "clients": [{"surname": ""}]}', "[0].surname is no property of Area"),
        ("/Invoice/1", b'{"lines": [{"qty_order": "3"}]}', "[0].lines[0].qty_order is str, documented as number"),
    ],
)
def test_the_check_of_answers_finds(path: str, body: bytes, problem: str) -> None:
    assert list(problems_of_answer(vendors()["HaloPSA"], "GET", path, body)) == [f"answer to GET {path}{problem}"]


def test_the_check_of_pax8_finds() -> None:
    def found(item: str) -> list[str]:
        body = f'{{"content": [{item}], "page": {{"size": 1}}}}'.encode()
        return [
            one.partition("content[0].")[2]
            for one in problems_of_answer(vendors()["Pax8"], "GET", "/invoices/x/items", body)
        ]

    assert found('{"quantity": "3"}') == ["quantity is str, documented as number"]
    assert found('{"unitPrice": 3}') == ["unitPrice is no property of InvoiceItem"]
    assert found('{"startPeriod": "2026-11"}') == ["startPeriod is no yyyy-MM-dd: '2026-11'"]
    assert [one[:12] for one in found('{"type": "usage"}')] == ["type is 'usa"]
    assert found('{"subscriptionId": null, "rateType": "tiered"}') == []
