"""The vendors' OpenAPI files, as far as our calls must keep to them. By hand: the files are of OpenAPI 3.0, partly
invalid ("type": "int", enums with explanations in them), and what we ask is simple.

They are read from ../shared/reference where it is present; nothing of them is in this repository. Where they are known
to be wrong or behind, the exception stands here with its evidence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import simplejson

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference"
MISSING = f"the vendors' documents are not there ({REFERENCE}): nothing was checked against them"

# Query parameters that work although the files do not list them.
_MORE_PARAMETERS = {
    ("HaloPSA", "/RecurringInvoice/{id}"): {"includelines"},  # reference/halopsa 4: read with both by S6
    ("HaloPSA", "/Invoice/{id}"): {"includelines"},  # the same handler; unknown ones are ignored (reference 0.7)
}
# What HaloPSA's GETs and POSTs answer; the file gives no schema for answers (reference/halopsa 2.2, 2.4).
_ENTITIES = {
    "Invoice": ("InvoiceHeader", "invoices"), "RecurringInvoice": ("InvoiceHeader", "invoices"),
    "Item": ("Item", "items"), "Client": ("Area", "clients"), "Site": ("Site", "sites"),
    "AssetGroup": ("Generic", ""), "Tax": ("Tax", ""), "InvoiceChange": ("InvoiceChange", "changehistory"),
    "Supplier": ("Supplier", "suppliers"), "Lookup": ("Lookup", ""), "Currency": ("Currency", ""),
}  # fmt: skip
_ENVELOPE = {"record_count", "page_no", "page_size"}
# Seen in answers, or in the newest documents, without being in the file of 2025-03 or the additions of 2026-01.
_MORE_PROPERTIES = {
    "Invoice": {"status"},  # Pax8: missing from the schema, in all of its examples (reference/pax8 3.3)
    "Generic": {"use"},  # in the body that made a group at a live tenant (reference/halopsa 5)
    "Supplier": {"inactive"},  # in the row of a live list (halopsa/samples/list-envelopes.json)
    "TokenResponse": {"scope", "expires_at"},  # in the example of Pax8's guide (reference/pax8 1)
}
_NULLABLE_AT_PAX8 = True  # nothing is marked so, yet `subscriptionId` is said to be null (reference/pax8 2)
_RATE_TYPES = {"markup", "single", "flat", "volume", "tiered"}  # the enum has an explanation after each word


@dataclass(frozen=True)
class Operation:
    vendor: str
    method: str
    path: str  # the template
    parameters: frozenset[str]
    body: Mapping[str, Any] | None  # the schema of a JSON body
    answer: Mapping[str, Any] | None


class Vendor:
    """One vendor's documents."""

    def __init__(self, name: str, document: Mapping[str, Any], additions: Mapping[str, Mapping[str, str]]) -> None:
        self.name = name
        flags = re.IGNORECASE if name == "HaloPSA" else 0  # whose paths are not told apart by case
        self._paths = [
            (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), flags), template, methods)
            for template, methods in document["paths"].items()
        ]
        self.schemas = document["components"]["schemas"]
        self._additions = additions

    def operation(self, method: str, path: str) -> Operation | None:
        """None where there is no such path, or not with that method."""
        for pattern, template, methods in self._paths:
            if pattern.fullmatch(path) and method.lower() in methods:
                return self._operation(method, template, methods[method.lower()])
        return None

    def _operation(self, method: str, template: str, found: Mapping[str, Any]) -> Operation:
        asked = {one["name"] for one in found.get("parameters", []) if one["in"] == "query"}
        asked |= _MORE_PARAMETERS.get((self.name, template), set())
        if template in ("/Invoice", "/RecurringInvoice"):
            asked |= set(self._additions.get("GET /Invoice query parameters added by 2026-06", {}))
        content = found.get("requestBody", {}).get("content", {}).get("application/json", {})
        answers = found.get("responses", {}).get("200", {}).get("content", {}).get("application/json", {})
        return Operation(self.name, method, template, frozenset(asked), content.get("schema"), answers.get("schema"))

    # --- values ------------------------------------------------------------------------------------------------------

    def problems(self, schema: Mapping[str, Any], value: Any, where: str, *, sent: bool) -> Iterator[str]:
        """What of the value the schema does not know or has in another type. `sent`: it is a request of ours."""
        name = ""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            schema = self.schemas[name]
        if value is None:
            if not (schema.get("nullable") or (_NULLABLE_AT_PAX8 and self.name == "Pax8" and not sent)):
                yield f"{where} is null"
            return
        kind = schema.get("type")
        if not _is(kind, value):
            yield f"{where} is {type(value).__name__}, documented as {kind}"
        elif kind == "object":
            yield from self._of_object(name, schema, value, where, sent=sent)
        elif kind == "array":
            for n, one in enumerate(value):
                yield from self.problems(schema["items"], one, f"{where}[{n}]", sent=sent)
        elif problem := _format(schema, value):
            yield f"{where} {problem}"

    def _of_object(
        self, name: str, schema: Mapping[str, Any], value: Mapping[str, Any], where: str, *, sent: bool
    ) -> Iterator[str]:
        known = schema.get("properties")
        if known is None:
            return
        added = self._additions.get(name, {})
        for key, held in value.items():
            if key in known:
                if sent and known[key].get("readOnly"):
                    yield f"{where}.{key} is read only"
                yield from self.problems(known[key], held, f"{where}.{key}", sent=sent)
            elif key in added:
                kind = added[key].partition("<")[0].partition(":")[0]
                if held is not None and not _is({"date-time": "string"}.get(kind, kind), held):
                    yield f"{where}.{key} is {type(held).__name__}, documented as {kind}"
            elif sent or key not in _MORE_PROPERTIES.get(name, set()):
                yield f"{where}.{key} is no property of {name or 'the schema'}"
        for key in schema.get("required", []):
            if sent and key not in value:  # what is required of us; answers leave out what they like
                yield f"{where}.{key} is missing"


def _is(kind: str | None, value: Any) -> bool:
    number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    match kind:
        case "integer":  # HaloPSA writes some ids as 12.0 (reference/halopsa 7)
            return number and value == int(value)
        case "number":
            return number
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
    return True


def _format(schema: Mapping[str, Any], value: Any) -> str:
    shape = schema.get("format")
    try:
        if shape == "date-time":
            datetime.fromisoformat(value)
        elif shape == "yyyy-MM-dd":
            date.fromisoformat(value)
        elif shape == "int32" and not -(2**31) <= value < 2**31:
            return "is no 32 bit integer"
        elif shape == "uuid" and not re.fullmatch(r"[0-9a-f-]{36}", value):
            return "is no uuid"
    except ValueError:
        return f"is no {shape}: {value!r:.40}"
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        return "is too long"
    allowed = schema.get("enum")
    if allowed and value not in allowed and not (value in _RATE_TYPES and any(value in one for one in allowed)):
        return f"is {value!r:.40}, none of {allowed}"
    return ""


@cache
def vendors() -> dict[str, Vendor]:
    """Both; only where REFERENCE is present."""
    folder = REFERENCE / "halopsa"
    halo = json.loads((folder / "halo-openapi-v2.2025-03-27.json").read_text(encoding="utf-8"))
    additions = json.loads((folder / "schema-additions-2026.json").read_text(encoding="utf-8"))
    pax8 = json.loads((REFERENCE / "pax8" / "partner-endpoints.json").read_text(encoding="utf-8"))
    login = json.loads((REFERENCE / "pax8" / "authentication.json").read_text(encoding="utf-8"))
    pax8["paths"] |= login["paths"]
    pax8["components"]["schemas"] |= login["components"]["schemas"]
    return {"Pax8": Vendor("Pax8", pax8, {}), "HaloPSA": Vendor("HaloPSA", halo, additions)}


def problems_of_request(vendor: Vendor, method: str, path: str, query: str, body: bytes) -> Iterator[str]:
    """`path` is relative to the service, as in the documents."""
    where = f"{method} {path}"
    operation = vendor.operation(method, path)
    if operation is None:
        yield f"{where} is not documented"
        return
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in operation.parameters:
            yield f"{where}?{name} is not documented"
        if not value:
            yield f"{where}?{name} is empty"
    if not body:
        if operation.body is not None:
            yield f"{where} has no body"
    elif operation.body is None:
        yield f"{where} has a body"
    else:
        sent = read(body)
        yield from vendor.problems(operation.body, sent, where, sent=True)
        yield from _commands(sent, where)


def _commands(value: Any, where: str) -> Iterator[str]:
    """Properties with an underscore are orders to the server; `_itemid` is none (reference/halopsa 2.1, 3.2)."""
    if isinstance(value, dict):
        for name, held in value.items():
            if name.startswith("_") and name != "_itemid":
                yield f"{where}.{name} is a command"
            yield from _commands(held, f"{where}.{name}")
    elif isinstance(value, list):
        for n, one in enumerate(value):
            yield from _commands(one, f"{where}[{n}]")


def problems_of_answer(vendor: Vendor, method: str, path: str, body: bytes) -> Iterator[str]:
    """A 2xx with JSON."""
    where = f"answer to {method} {path}"
    answer = read(body)
    if vendor.name == "Pax8":
        operation = vendor.operation(method, path)
        assert operation is not None
        assert operation.answer is not None
        yield from vendor.problems(operation.answer, answer, where, sent=False)
        return
    entity, _, rest = path.strip("/").partition("/")
    if entity not in _ENTITIES:
        yield f"{where}: what is answered is not documented"
        return
    schema, key = _ENTITIES[entity]
    schema = "InvoiceDetail" if rest == "updatelines" else schema
    rows = [answer]
    if isinstance(answer, list):
        rows = answer
    elif method == "GET" and not rest and key:
        rows = answer.get(key, [])
        for name in answer.keys() - _ENVELOPE - {key}:
            yield f"{where}.{name} is nothing that a list has"
        if not isinstance(answer.get("record_count"), int):
            yield f"{where} has no record_count"
    for n, row in enumerate(rows):
        yield from vendor.problems({"$ref": f"#/components/schemas/{schema}"}, row, f"{where}[{n}]", sent=False)


def read(body: bytes) -> Any:
    return simplejson.loads(body.decode(), use_decimal=True)
