"""What a fault makes of a call: the answer told instead, the request changed on its way, the answer distorted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from billingsync.sandbox.faults import Fault
from billingsync.sandbox.wire import HTML_TYPE, Answer, Request, Row, copy_json, decode, encode

_LOGIN_PAGE = (
    "<!DOCTYPE html><html><head><title>Sign in</title></head><body><form>Sign in to continue</form></body></html>"
)
_GATEWAY_PAGE = "<html><body><h1>{status}</h1>The server did not answer in time.</body></html>"
_TEXT_TYPE = "text/plain; charset=utf-8"
_GATEWAY = (502, 503, 504)


def told(fault: Fault, service: str, path: str) -> Answer:
    """The answer of a fault that does not break the connection."""
    kind = fault.base_kind()
    if kind == "redirect":
        return Answer(status=308, headers={"Location": fault.to})
    if kind == "not_json":
        return Answer(text=fault.body or _LOGIN_PAGE, content_type=HTML_TYPE)
    if kind == "empty":
        return Answer()
    if kind == "error_inside":
        return Answer(data={"resultCode": "500", "errorMessage": "An unexpected error occurred"})
    if kind == "400_object":
        return Answer(status=400, data={"[0].client_id": ["Could not convert to integer: x. Path '[0].client_id'."]})
    status = 504 if kind in ("timeout", "late") else int(kind)
    headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
    if fault.body is not None:
        return Answer(status=status, text=fault.body, headers=headers)
    if status in _GATEWAY:  # a gateway speaks for itself, not for the service behind it
        return Answer(status=status, text=_GATEWAY_PAGE.format(status=status), content_type=HTML_TYPE, headers=headers)
    if service == "pax8":
        body = {"type": "ERROR", "message": "told by the sandbox", "instance": f"/public/v1{path}", "status": status}
        return Answer(status=status, data={**body, "details": []}, headers=headers)
    if status == 429:
        text = "Rate Limit Reached - 300 Requests per rolling 5 minute window."
        return Answer(status=status, text=text, content_type=_TEXT_TYPE, headers=headers)
    if status == 400:
        return Answer(status=status, data="The sandbox was told to refuse this", headers=headers)
    return Answer(status=status, headers=headers)  # HaloPSA's other errors have no body


def tampered(fault: Fault, request: Request) -> Request:
    """The request as the service gets to see it."""
    if fault.kind == "repeat_pages":
        first = {"page": "0", "page_no": "1"}
        return replace(request, query={name: first.get(name.lower(), value) for name, value in request.query.items()})
    change = {
        "fewer_lines": _without_last,
        "drop_marker": _without_markers,
        "cut_text": _with_cut_texts,
        "round_amounts": _with_whole_prices,
    }.get(fault.kind)
    if change is None or request.method != "POST":
        return request
    try:
        body = decode(request.body)
    except ValueError:
        return request
    return replace(request, body=encode(change(fault, body)))


def distorted(fault: Fault, answer: Answer) -> Answer:
    """The answer as the caller gets to see it."""
    if answer.data is None or answer.status >= 400:
        return answer
    if fault.kind == "list_for_object":
        return answer if isinstance(answer.data, list) else replace(answer, data=[answer.data])
    if fault.kind not in ("cut50", "no_rows"):
        return answer
    most = 50 if fault.kind == "cut50" else 0
    if isinstance(answer.data, list):
        return replace(answer, data=answer.data[:most])
    data = copy_json(answer.data)
    for name, value in data.items():
        if isinstance(value, list):
            data[name] = value[:most]
    if fault.kind == "no_rows" or fault.count == "cut":
        data |= {"record_count": min(most, data["record_count"])} if "record_count" in data else {}
        if "page" in data:
            total = min(most, data["page"]["totalElements"])
            data["page"] |= {"totalElements": total, "totalPages": -(-total // data["page"]["size"])}
    return replace(answer, data=data)


def _without_last(_: Fault, body: Any) -> Any:
    if isinstance(body, list) and any(isinstance(row, dict) and "ihid" in row for row in body):
        return body[:-1] or body  # updatelines
    for row in _rows(body):
        for name in ("lines", "add_lines"):
            if isinstance(row.get(name), list):
                row[name] = row[name][:-1]
    return body


def _without_markers(fault: Fault, body: Any) -> Any:
    return _each(body, lambda row: [row.pop(name, None) for name in fault.fields])


def _with_cut_texts(fault: Fault, body: Any) -> Any:
    def cut(row: Row) -> None:
        row |= {name: value[: fault.length] for name, value in row.items() if isinstance(value, str)}

    return _each(body, cut)


def _with_whole_prices(_: Fault, body: Any) -> Any:
    def rounded(row: Row) -> None:
        for name in ("unit_price", "baseprice"):
            if isinstance(row.get(name), (int, Decimal)):
                row[name] = Decimal(row[name]).quantize(Decimal(1), ROUND_HALF_UP)

    return _each(body, rounded)


def _rows(body: Any) -> list[Row]:
    return [row for row in body if isinstance(row, dict)] if isinstance(body, list) else []


def _each(body: Any, change: Callable[[Row], Any]) -> Any:
    """Applies the change to each header and each of its lines."""
    for row in _rows(body):
        change(row)
        for name in ("lines", "add_lines"):
            for line in _rows(row.get(name)):
                change(line)
    return body
