"""HaloPSA's rows as the values that the core sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from billingsync.core.invoice import Invoice
from billingsync.psa.halo.read import read_invoice


def invoice_of(raw: Mapping[str, Any], *, id_: int, client_id: int = 1, template: bool = False) -> Invoice:
    """An invoice of this id and client, with what else this row says."""
    found = read_invoice({"lines": [], **raw, "id": id_, "client_id": client_id}, template=template)
    assert found is not None
    return found


def rows_of(invoice: Invoice) -> list[dict[str, Any]]:
    """Its lines as HaloPSA has them."""
    rows = invoice.origin["lines"]
    assert isinstance(rows, list)
    return rows


def again(invoice: Invoice, **raw: Any) -> Invoice:
    """The same invoice, where HaloPSA says something else of it now."""
    found = read_invoice({**invoice.origin, **raw}, template=invoice.template)
    assert found is not None
    return found
