"""The emulated HaloPSA's clients, sites, suppliers, items and item groups (which its API calls asset groups)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from billingsync.sandbox import halo_lists as lists
from billingsync.sandbox.halo_invoices import NotFound
from billingsync.sandbox.halo_lines import Refused
from billingsync.sandbox.halo_schema import GROUP, ITEM, TICKET, bind
from billingsync.sandbox.halo_tables import HaloTables
from billingsync.sandbox.notes import Notes
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.wire import Row, copy_json

_ENVELOPES = {"client": "clients", "site": "sites", "supplier": "suppliers", "item": "items"}
_CURRENCY = {"id": "default_currency_code", "name": "default_currency_code_name", "iso": "currencyisocode"}
_SHORT_CLIENT = ("id", "name", "toplevel_id", "toplevel_name", "inactive", "colour", "use", "ref")
_DETAIL_ONLY = {
    "client": frozenset({"notes", "customfields", "external_links"}),
    "item": frozenset({"item_suppliers", "customfields", "external_links", "note"}),
}
_ITEM_DEFAULTS: Row = {
    "status": 0, "description": "", "internalreference": "", "externalreference": "", "supplier_part_code": "",
    "baseprice": 0, "costprice": 0, "recurringprice": 0, "recurringcost": 0, "isrecurringitem": False,
    "nominalcode": "", "purchasenominalcode": "", "taxcode": 0, "supplier_id": 0, "assetgroup_id": 0,
    "dont_track_stock": False, "doesnotneedconsigning": False, "dontinvoice": False, "third_party_id": "",
    "item_suppliers": [], "customfields": [], "external_links": [],
}  # fmt: skip
_GROUP_DEFAULTS: Row = {
    "showasitem": True, "showasequip": False, "sequence": 1, "nominalcode": "", "nominalcodepurchase": "",
    "isfixedasset": False,
}  # fmt: skip
_ITEM_OWN = frozenset({"id", "assetgroup_name", "datecreated", "lastmodified", "update_recurring_invoice_price",
                       "update_recurring_invoice_cost"})  # fmt: skip


class Catalogue:
    def __init__(self, options: SandboxOptions, tables: HaloTables, notes: Notes) -> None:
        self.options = options
        self.tables = tables
        self.notes = notes

    def listed(self, entity: str, rows: list[Row], query: Mapping[str, str]) -> Row:
        if entity == "item":
            rows = self._items(rows, query)
        else:
            listed = entity == "client" and self.options.inactive_clients == "listed"
            rows = lists.active(rows, query, listed=listed)
        if entity == "site" and (client_id := lists.whole(query, "client_id", 0)):
            rows = [row for row in rows if row["client_id"] == client_id]
        if query.get("search"):
            rows = lists.searched(rows, query["search"], ("name",))
        key = _ENVELOPES[entity]
        found = lists.envelope(self.options, rows, query, key)
        if lists.truth(query, "idonly"):
            found[key] = [{"id": row["id"]} for row in found[key]]
        else:
            found[key] = [self._shown(entity, row, detail=False) for row in found[key]]
        return found

    def one(self, entity: str, row: Row | None) -> Row:
        if row is None:
            raise NotFound
        return self._shown(entity, row, detail=True)

    def save(self, entity: str, sent: Any, path: str) -> Row:
        """One element of POST /Item or POST /AssetGroup."""
        table, schema = ("items", ITEM) if entity == "item" else ("groups", GROUP)
        known, unknown = bind(schema, sent, path)
        where = "/Item" if entity == "item" else "/AssetGroup"
        for name in unknown:
            self.notes.ignore(where, name)
        for name in known:
            if name.startswith("_"):
                self.notes.alarm("command_property", where, name)
        for name in ("update_recurring_invoice_price", "update_recurring_invoice_cost"):
            if known.get(name):
                self.notes.alarm("price_push", where, name)
        row_id = known.get("id") or 0
        if row_id:
            if row_id not in self.tables.table(table):
                raise NotFound
            row = copy_json(self.tables.table(table)[row_id])
        elif not known.get("name"):
            raise Refused("A name must be given")
        else:
            defaults = _ITEM_DEFAULTS if entity == "item" else _GROUP_DEFAULTS
            row = {"id": self.tables.new_id(table), **copy_json(defaults)}
            if entity == "item":
                row["datecreated"] = self.tables.moment()
        row |= {name: copy_json(value) for name, value in known.items() if name not in _ITEM_OWN and name[0] != "_"}
        if entity == "item":
            self._complete(row)
        self.tables.put(table, row)
        return self._shown(entity, row, detail=True)

    def save_ticket(self, sent: Any, path: str) -> Row:
        """One element of POST /Tickets."""
        known, unknown = bind(TICKET, sent, path)
        for name in unknown:
            self.notes.ignore("/Tickets", name)
        if known.get("id"):
            raise Refused("Tickets that are there are not emulated for changing")
        if not known.get("summary"):
            raise Refused("A summary must be given")
        row = {**copy_json(known), "id": self.tables.new_id("tickets"), "dateoccurred": self.tables.moment()}
        self.tables.put("tickets", row)
        return row

    def _complete(self, row: Row) -> None:
        if row["assetgroup_id"]:
            group = self.tables.groups.get(row["assetgroup_id"])
            if group is None:
                raise Refused(f"Group {row['assetgroup_id']} does not exist")
            row["assetgroup_name"] = group["name"]
        for name in ("internalreference", "externalreference", "name"):
            row[name] = row[name][: self.options.text_limit]
        row["lastmodified"] = self.tables.moment()

    def _items(self, rows: list[Row], query: Mapping[str, str]) -> list[Row]:
        if not lists.truth(query, "includeinactive"):
            rows = [row for row in rows if not row["status"]]
        for parameter in ("assetgroup_id", "supplier_id"):
            if wanted := lists.whole(query, parameter, 0):
                rows = [row for row in rows if row[parameter] == wanted]
        if lists.truth(query, "recurringonly"):
            rows = [row for row in rows if row["isrecurringitem"]]
        if lists.truth(query, "excluderecurring"):
            rows = [row for row in rows if not row["isrecurringitem"]]
        return rows

    def _shown(self, entity: str, row: Row, *, detail: bool) -> Row:
        hidden: frozenset[str] = frozenset() if detail else _DETAIL_ONLY.get(entity, frozenset())
        if entity == "client":
            wanted = self.options.currency_field
            if wanted != "all":
                hidden |= {name for key, name in _CURRENCY.items() if key != wanted}
            if not detail and self.options.client_rows == "short":
                return {name: row[name] for name in _SHORT_CLIENT if name in row}
        if entity == "item" and not detail and self.options.item_rows == "short":
            hidden |= {"externalreference", "supplier_part_code"}
        return {name: value for name, value in row.items() if name not in hidden}
