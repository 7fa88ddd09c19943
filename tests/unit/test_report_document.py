"""The JSON documents: exactly the keys of the interface, every amount a plain decimal string, valid UTF-8 always."""

from __future__ import annotations

import json
import re
from decimal import Decimal as D
from typing import Any

import sample_plan as sample
import sample_run

from billingsync.core.money import minor_unit
from billingsync.report.document import dump, error_document, holds_document, plan_document, run_document

DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def document() -> dict[str, Any]:
    return json.loads(dump(plan_document(sample.full_plan(), sample.CREATED_AT)))  # type: ignore[no-any-return]


def test_the_keys_of_a_plan() -> None:
    plan = document()
    assert list(plan)[:2] == ["format_version", "next_steps"] and plan["format_version"] == "1.0"
    assert set(plan) == {
        "format_version", "next_steps", "digest", "period", "partner", "rules_digest", "created_at", "clients_asked",
        "sources", "equation", "clients", "unassigned", "kept_from_clients", "warnings", "true_ups", "targets",
        "waiting", "alarms", "left",
    }  # fmt: skip
    assert set(plan["sources"][0]) == {
        "invoice_id", "status", "charges", "price", "cost", "currency",
        "sales_tax", "header_total", "header_difference", "price_rounding", "cost_rounding",
    }  # fmt: skip
    assert set(plan["equation"]["USD"]) == {"price", "cost"}
    for side in plan["equation"]["USD"].values():
        assert set(side) == {"charges", "posted", "dropped", "excluded", "held", "already_posted"}
    assert set(plan["unassigned"]) == {"excluded", "holds"}


def test_the_keys_of_a_client() -> None:
    clients = document()["clients"]
    assert all(
        set(client)
        == {
            "company_id", "company_name", "client_id", "client_name", "matched_by", "behavior", "target_invoice_id",
            "amount", "cost", "currency", "held", "limits", "would_bill", "lines", "dropped", "excluded", "holds",
            "guessed", "last_period", "last_amount",
        }
        for client in clients
    )  # fmt: skip
    contoso, fabrikam = clients[0], clients[1]
    assert set(contoso["lines"][0]) == {
        "action", "line_id", "description", "item", "quantity", "unit_price", "unit_cost", "amount", "cost", "charges",
        "title", "group", "before", "before_amount",
    }  # fmt: skip
    assert contoso["lines"][0]["item"] == {"id": 17, "name": "M365 BP", "create": False}
    assert contoso["dropped"] == [
        {"charge": "inv-USD:4", "modifier": "favorable_prorata", "amount": "-4.10", "cost": "-3.00", "currency": "USD",
         "product": "M365 E3 prorata"}
    ]  # fmt: skip
    assert set(fabrikam["excluded"][0]) == {"charge", "rule", "amount", "cost", "currency", "product"}
    assert set(fabrikam["holds"][0]) == {
        "charge", "reason", "amount", "cost", "next_step", "ways", "currency", "product", "detail",
    }  # fmt: skip


def test_a_line_as_in_the_interface() -> None:
    line = document()["clients"][0]["lines"][0]
    assert (line["action"], line["line_id"], line["quantity"], line["unit_price"], line["unit_cost"]) == (
        "update", 9001, "10", "22.00", "18.00",
    )  # fmt: skip
    assert (line["amount"], line["cost"], line["charges"]) == ("220.00", "180.00", ["inv-USD:1", "inv-USD:2"])
    quantities = [line["quantity"] for line in document()["clients"][1]["lines"]]
    prices = [line["unit_price"] for line in document()["clients"][1]["lines"]]
    assert (quantities, prices) == (["11", "1.5", "1"], ["2.4999", "1000.00", "-12.00"])


def test_every_amount_is_a_string_with_the_currencys_digits() -> None:
    def walk(value: Any, currency: str) -> None:
        if isinstance(value, dict):
            currency = value.get("currency") or currency
            for key, entry in value.items():
                walk(entry, key if key in ("USD", "JPY", "KWD", "EUR") else currency)
                if key in ("amount", "cost", "price", "posted", "dropped", "charges") and isinstance(entry, str):
                    digits = minor_unit(currency)
                    assert DECIMAL.fullmatch(entry) and len(entry.partition(".")[2]) == digits, (key, entry, currency)
        elif isinstance(value, list):
            for entry in value:
                walk(entry, currency)
        else:
            assert not isinstance(value, float)

    walk(document(), "")


def test_the_equation_of_the_document_adds_up() -> None:
    for sides in document()["equation"].values():
        for side in sides.values():
            parts = [D(side[name]) for name in ("posted", "dropped", "excluded", "held")]
            assert sum(parts) == D(side["charges"])


def test_next_steps_are_argument_lists() -> None:
    assert document()["next_steps"] == [
        ["billingsync", "post", sample.DIGEST],
        ["billingsync", "holds", "2026-11"],
    ]
    assert plan_document(sample.empty_plan(), "")["next_steps"] == []
    assert plan_document(sample.held_plan(), "", [("a", "b")])["next_steps"] == [["a", "b"]]


def test_fault_37_the_document_is_valid_utf_8_and_moves_no_terminal() -> None:
    text = dump(plan_document(sample.full_plan(), sample.CREATED_AT))
    text.encode("utf-8")
    assert text.endswith("}\n") and text.count("\n}\n") == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    lines = json.loads(text)["clients"][2]["lines"]
    assert [line["title"] for line in lines[:4]] == [sample.FORMULA, sample.SCRIPT, sample.ANSI, sample.BIDI]
    assert lines[4]["title"] == "half \ufffd a pair"  # what no UTF-8 can carry
    assert lines[7]["title"] == sample.LONG  # nothing is cut here


def test_two_halves_of_a_surrogate_pair_become_their_character() -> None:
    assert json.loads(dump({"a": "\ud83d\ude00"})) == {"a": "😀"}


def test_an_error() -> None:
    assert error_document("BS-STALE-PLAN", "It changed.", [("billingsync", "plan")], 5) == {
        "format_version": "1.0",
        "error": {
            "code": "BS-STALE-PLAN",
            "message": "It changed.",
            "next_steps": [["billingsync", "plan"]],
            "exit_code": 5,
        },
    }


def test_a_run() -> None:
    run = json.loads(dump(run_document(sample_run.troubled_run())))
    assert {"run", "digest", "period", "state", "postings", "holds", "equation"} <= set(run)
    assert {"key", "client_id", "invoice_id", "action", "lines", "amount", "state"} <= set(run["postings"][0])
    assert run["postings"][0]["amount"] == "261.37" and run["postings"][1]["invoice_id"] is None
    for side, returned in (("price", "261.37"), ("cost", "130.69")):
        assert set(run["equation"]["USD"][side]) == {
            "charges", "posted", "dropped", "excluded", "held", "already_posted", "returned",
        }  # fmt: skip
        assert run["equation"]["USD"][side]["returned"] == returned
    assert run["next_steps"][0] == ["billingsync", "run", "2026-11", "--client", "Adventure Works"]


def test_holds() -> None:
    holds = json.loads(dump(holds_document("2026-11", sample_run.open_holds())))["holds"]
    assert (holds[0]["company_name"], holds[0]["amount"], holds[0]["age_days"]) == ("Tailspin Toys", "85.10", 4)
    assert holds[0]["next_step"] and holds[0]["reason"] == "product_unmatched"
    assert holds_document(None, [])["period"] is None
