"""What the desk asks for about the installation itself: the checks of `doctor`, and the codes that HaloPSA has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from billingsync.connect import Connections
from billingsync.core.desk import OrderKind
from billingsync.core.progress import Say
from billingsync.errors import BillingSyncError
from billingsync.reconcile import orders
from billingsync.run.orders import Carry, Done
from billingsync.settings import LiveSettings
from billingsync.setup.discovery import look_around
from billingsync.setup.doctor import examine_with
from billingsync.store.orders import Order


def carries(live: LiveSettings) -> Mapping[OrderKind, Carry]:
    """Every kind of order; the tests of the connections are of the settings that count then."""

    def test(connected: Connections, order: Order, say: Say) -> Done:
        """Every check, one line each with its remedy, and the codes that new items may have."""
        checks = [asdict(one) | {"next_step": list(one.next_step)} for one in examine_with(live.current())]
        return Done(outcome={"checks": checks, "codes": _codes(live)})

    return {**orders.CARRIES, OrderKind.TEST: test}


def _codes(live: LiveSettings) -> dict[str, Any]:
    """By key of the rules: (value, words) of each that HaloPSA has; nothing where it cannot be asked."""
    try:
        found = look_around(live.current(), live.redactor)
    except BillingSyncError:
        return {}
    return {
        "products.item_group": [[group.name, str(group)] for group in found.item_groups],
        "products.income_account": [[one.id, str(one)] for one in found.income_accounts],
        "products.expense_account": [[one.id, str(one)] for one in found.expense_accounts],
        "products.tax_code": [[one.id, str(one)] for one in found.taxes],
    }
