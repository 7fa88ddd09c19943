"""The emulated HaloPSA REST API: login, rights and routes (reference/halopsa)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from billingsync.sandbox import halo_lists as lists
from billingsync.sandbox.clock import Clock
from billingsync.sandbox.halo_catalogue import Catalogue
from billingsync.sandbox.halo_invoices import Conflict, Invoices, NotFound
from billingsync.sandbox.halo_lines import Lines, Refused
from billingsync.sandbox.halo_lists import BadParameter
from billingsync.sandbox.halo_making import Making, prorata_rows
from billingsync.sandbox.halo_schema import BindingError
from billingsync.sandbox.halo_tables import HaloTables
from billingsync.sandbox.notes import Notes
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.tokens import Tokens, Window
from billingsync.sandbox.wire import Answer, Request, Row, decode

CLIENT_ID = "sandbox-halo"
_MODULES = {"invoice": "invoices", "recurringinvoice": "invoices", "invoicechange": "invoices",
            "invoicedetailprorata": "invoices", "client": "customers",
            "site": "customers", "item": "items", "supplier": "suppliers", "tickets": "tickets"}  # fmt: skip
_SCOPES = (
    "tickets calendar customers crm timesheets contracts suppliers items projects sales quotes sos pos invoices "
    "reporting software softwarelicensing kb assets"
).split()
_TABLES = {"invoice": "invoices", "recurringinvoice": "recurring"}
_BARE = {"tax": "taxes", "currency": "currencies", "assetgroup": "groups"}
_LISTED = {"client": "clients", "site": "sites", "supplier": "suppliers", "item": "items"}


class Halo:
    def __init__(self, options: SandboxOptions, clock: Clock, notes: Notes) -> None:
        self.notes = notes
        self.tables = HaloTables(options.month, clock)
        self.tokens = Tokens(
            clock,
            prefix=options.own("halo"),
            life_s=options.halo_token_life_s,
            void_at_call=options.halo_tokens_void_at_call,
        )
        self.window = Window(clock, options.halo_calls_per_5_minutes, 300)
        self.auth_url = ""  # known when the server listens
        self._clock = clock
        self._looked_at = 0  # the minute, of what the clock was moved, when the schedules were looked at
        self._use(options)

    def _use(self, options: SandboxOptions) -> None:
        self.options = options
        self.invoices = Invoices(options, self.tables, self.notes, Lines(options, self.tables, self.notes))
        self.catalogue = Catalogue(options, self.tables, self.notes)
        self.making = Making(options, self.tables, self.invoices)

    def change(self, options: SandboxOptions) -> None:
        """Behaves otherwise from now on; what is stored stays."""
        self._use(options)

    def make_due(self) -> None:
        """Invoices that became due since the clock was last moved."""
        minute = int(self._clock.moved // 60)
        if minute != self._looked_at:
            self._looked_at = minute
            self.making.due()

    @property
    def client_secret(self) -> str:
        return self.options.own(f"{self.options.secret}-halo")

    @property
    def client_id(self) -> str:
        return self.options.own(CLIENT_ID)

    def answer(self, request: Request, *, hidden_since: float | None = None, landed: bool = False) -> Answer:
        """`hidden_since`: lists show the tables as they were then. `landed`: a late write, let in long ago."""
        before = len(self.tables.journal)
        try:
            answer = self._answer(request, hidden_since, landed)
        except Refused as no:
            answer = Answer(status=400, data=str(no))
        except BindingError as bad:
            answer = Answer(status=400, data={bad.path: [str(bad)]})
        except BadParameter as bad:
            answer = Answer(status=400, data={bad.name: [str(bad)]})
        except NotFound:
            answer = Answer(status=404)
        except Conflict:
            answer = Answer(status=409)
        # a batch is not one transaction: what came before the element that failed stays done
        effect = len(self.tables.journal) > before
        return Answer(
            status=answer.status, data=answer.data, text=answer.text, content_type=answer.content_type,
            headers=answer.headers, effect=effect,
        )  # fmt: skip

    def _answer(self, request: Request, hidden_since: float | None, landed: bool) -> Answer:
        options = self.options
        path = request.path.strip("/").lower()
        if not landed:
            if (
                options.required_header
                and request.headers.get(options.required_header[0].lower()) != options.required_header[1]
            ):
                return Answer(status=403)
            if not self.window.admits():
                return self.too_many()
            if path == "auth/token":
                return self._token(request)
            if path == "authinfo" and request.method == "GET":
                if options.authinfo == "404":
                    return Answer(status=404)
                return Answer(data={"auth_url": self.auth_url, "tenant_id": options.tenant or options.account})
            if (refusal := self._rights(request, path)) is not None:
                return refusal
        query = {name.lower(): value for name, value in request.query.items()}
        self._report_query(path, request.query)
        if request.method == "GET":
            return Answer(data=self._get(path, query, hidden_since))
        if request.method == "POST":
            return self._post(path, request)
        if request.method == "DELETE":
            return self._delete(path)
        return Answer(status=405)

    def too_many(self) -> Answer:
        headers = {} if self.options.retry_after_s is None else {"Retry-After": str(self.options.retry_after_s)}
        limit = self.options.halo_calls_per_5_minutes or 300
        text = f"Rate Limit Reached - {limit} Requests per rolling 5 minute window."
        return Answer(status=429, text=text, content_type="text/plain; charset=utf-8", headers=headers)

    # --- login and rights --------------------------------------------------------------------------------------------

    def _token(self, request: Request) -> Answer:
        if request.method != "POST":
            return Answer(status=405)
        if request.content_type != "application/x-www-form-urlencoded":
            return _oauth(400, "invalid_request", "The token is asked for with a form")
        tenant = {name.lower(): value for name, value in request.query.items()}.get("tenant")
        wanted = self.options.tenant or self.options.account
        if wanted and tenant != wanted:
            return Answer(status=500)  # what a wrong tenant was seen to give
        form = {name: values[-1] for name, values in parse_qs(request.body.decode(errors="replace")).items()}
        if form.get("grant_type") != "client_credentials":
            return _oauth(400, "unsupported_grant_type", "Only client_credentials is emulated")
        if (form.get("client_id"), form.get("client_secret")) != (self.client_id, self.client_secret):
            return _oauth(401, "invalid_client", "The client credentials are invalid")
        scopes = form.get("scope", "").split()
        known = {"all"} | {f"{right}:{module}" for right in ("read", "edit") for module in _SCOPES}
        if not scopes or not known.issuperset(scopes):
            return _oauth(400, "invalid_scope", "The scope is missing or unknown")
        token = self.tokens.give(" ".join(scopes))
        return Answer(
            data={
                "access_token": token,
                "token_type": "Bearer",
                "expires_in": self.tokens.life_s,
                "refresh_token": "",
                "id_token": "",
            }
        )

    def _rights(self, request: Request, path: str) -> Answer | None:
        scope = self.tokens.check(request.headers.get("authorization", ""))
        if scope is None:
            return Answer(status=401)
        entity, _, rest = path.partition("/")
        module = _MODULES.get(entity)
        wanted = {"all", f"edit:{module}"} | ({f"read:{module}"} if request.method == "GET" else set())
        if module and not wanted.intersection(scope.split()):
            return Answer(status=403)
        if module in self.options.role_lacks and (rest or request.method != "GET"):
            return Answer(status=401)  # 401, not 403, is what a role without the module was seen to get
        return None

    def _report_query(self, path: str, query: Mapping[str, str]) -> None:
        documented = lists.DOCUMENTED.get(path.partition("/")[0], frozenset())
        for name in query:
            if name.lower() not in documented and name.lower() != "bypass_accounts_sync":
                self.notes.ignore(f"/{path}", f"?{name}")

    # --- reading -----------------------------------------------------------------------------------------------------

    def _get(self, path: str, query: Mapping[str, str], hidden_since: float | None) -> Any:
        match path.split("/"):
            case ["invoice" | "recurringinvoice" as entity]:
                return self._invoice_list(_TABLES[entity], query, hidden_since)
            case ["invoice", "lines"]:
                raise Refused("Parameter client_id must be included")
            case ["invoice" | "recurringinvoice" as entity, row_id]:
                row = self.tables.table(_TABLES[entity]).get(_id(row_id))
                if row is None:
                    raise NotFound
                lines = lists.truth(query, "includedetails") or lists.truth(query, "includelines")
                return self.invoices.shown(row, lines=lines)
            case [("client" | "site" | "supplier" | "item") as entity]:
                rows = self.tables.rows(_LISTED[entity], hidden_since=hidden_since)
                return self.catalogue.listed(entity, rows, query)
            case [("client" | "site" | "supplier" | "item") as entity, row_id]:
                return self.catalogue.one(entity, self.tables.table(_LISTED[entity]).get(_id(row_id)))
            case [("tax" | "currency" | "assetgroup") as entity]:
                return self.tables.rows(_BARE[entity], hidden_since=hidden_since)
            case [("tax" | "assetgroup") as entity, row_id]:
                return self.catalogue.one(entity, self.tables.table(_BARE[entity]).get(_id(row_id)))
            case ["lookup"]:
                wanted = lists.whole(query, "lookupid", 0)
                return [row for row in self.tables.lookups.values() if not wanted or row["lookupid"] == wanted]
            case ["tickets"]:
                return lists.envelope(self.options, lists.tickets(self.tables.rows("tickets"), query), query, "tickets")
            case ["invoicedetailprorata"] if self.options.prorata_list == "present":
                return lists.envelope(self.options, prorata_rows(self.tables), query, "prorata")
            case ["invoicechange"]:
                return self._changes(query)
        raise NotFound

    def _invoice_list(self, name: str, query: Mapping[str, str], hidden_since: float | None) -> Row:
        rows = lists.invoices(self.options, self.tables.rows(name, hidden_since=hidden_since), query)
        found = lists.envelope(self.options, rows, query, "invoices")
        if lists.truth(query, "idonly"):
            found["invoices"] = [{"id": row["id"]} for row in found["invoices"]]
        else:
            lines = lists.truth(query, "includelines") and self.options.list_has_lines
            found["invoices"] = [self.invoices.shown(row, lines=lines, detail=False) for row in found["invoices"]]
        return found

    def _changes(self, query: Mapping[str, str]) -> Row:
        rows = self.tables.changes
        for parameter, name in (("invoice_id", "invoice_id"), ("line_id", "invoice_line_id")):
            if wanted := lists.whole(query, parameter, 0):
                rows = [row for row in rows if row[name] == wanted]
        return lists.envelope(self.options, rows, query, "changehistory")

    # --- writing -----------------------------------------------------------------------------------------------------

    def _post(self, path: str, request: Request) -> Answer:
        if path.startswith("invoice/") and path.endswith("/void"):
            row = self.invoices.void(_id(path.split("/")[1]))
            return Answer(data=self.invoices.shown(row, lines=True))
        if request.content_type != "application/json":
            return Answer(status=415)
        try:
            sent = decode(request.body)
        except ValueError:
            return Answer(status=400, data={"": ["The request body is not valid JSON."]})
        if not isinstance(sent, list):
            return Answer(status=400, data="An array was expected in the request body")
        match path.split("/"):
            case ["invoice" | "recurringinvoice" as entity]:
                rows = [self.invoices.save(_TABLES[entity], element, f"[{i}]") for i, element in enumerate(sent)]
                return self._posted([self.invoices.shown(row, lines=self.options.answer_lines) for row in rows])
            case ["invoice" | "recurringinvoice" as entity, "updatelines"]:
                return self._posted(self.invoices.save_lines(_TABLES[entity], sent, ""))
            case ["recurringinvoice", "lines"]:
                return self._posted(self.invoices.save_lines("recurring", sent, ""))
            case ["recurringinvoice", "process"]:
                # it would make real invoices of recurring ones: nobody here may ever call it
                self.notes.alarm("process", f"/{path}", str(sent))
                return Answer(status=self.options.post_status, data=[])
            case ["item" | "assetgroup" as entity]:
                return self._posted([self.catalogue.save(entity, element, f"[{i}]") for i, element in enumerate(sent)])
            case ["tickets"]:
                return self._posted([self.catalogue.save_ticket(element, f"[{i}]") for i, element in enumerate(sent)])
        raise NotFound

    def _posted(self, rows: list[Row]) -> Answer:
        if not rows:
            raise Refused("Nothing was sent")
        return Answer(status=self.options.post_status, data=rows if self.options.post_answer == "list" else rows[0])

    def _delete(self, path: str) -> Answer:
        match path.split("/"):
            case ["invoice" | "recurringinvoice" as entity, row_id]:
                row = self.invoices.delete(_TABLES[entity], _id(row_id))
                return Answer(data=self.invoices.shown(row, lines=False))
            case ["item", row_id]:
                self.catalogue.one("item", self.tables.items.get(_id(row_id)))
                self.tables.delete("items", _id(row_id))
                return Answer(data={"id": _id(row_id)})
        raise NotFound


def _id(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadParameter("id", text) from None


def _oauth(status: int, error: str, description: str) -> Answer:
    return Answer(status=status, data={"error": error, "error_description": description})
