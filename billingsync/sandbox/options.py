"""What a sandbox is like: the month it is seeded with, and how its two services behave.

Every open question about HaloPSA (reference/halopsa 10) is a switch here, so that tests can run under each answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True, kw_only=True)
class SandboxOptions:
    # --- the month -------------------------------------------------------------------------------------------------
    seed: int = 1  # same seed, same month, to the byte
    clients: int = 12  # companies that are billed without trouble, each with its HaloPSA client
    charges: int | None = None  # of the month; None: about 16 a client, plus the odd ones
    month: str = "2026-11"
    history: int = 1  # earlier months that are there too; subscriptions come, change, go and return over 3 of them
    hand_kept: int = 0  # clients whose Pax8 seats people keep on a recurring invoice; billing usually leaves them out
    trouble: bool = True  # also charges, companies and clients that must be held or read with care
    released: bool = True  # False: the month's invoices appear with `release()`
    release_after_list_calls: int | None = None  # ... or once GET /invoices was called this often

    # --- both services ---------------------------------------------------------------------------------------------
    latency_ms: int = 0  # every call takes at least this long
    halo_latency_ms: int | None = None  # HaloPSA's calls, where they take another time than Pax8's
    faults: tuple[str, ...] = ()  # in the notation of `faults.parse_fault`
    date_offset_s: float = 0  # how wrong the `Date` header is
    secret: str = "sandbox-secret"  # noqa: S105  # both client secrets are made of it: a canary for leak tests
    account: str = ""  # whose it is, where one process serves many: in each client id, client secret and token, and
    # the HaloPSA tenant's name
    retry_after_s: int | None = None  # sent with a 429 of the rate limits below; neither vendor documents it

    # --- Pax8 ------------------------------------------------------------------------------------------------------
    pax8_token_life_s: int = 86_400
    pax8_tokens_void_at_call: int | None = None  # at this call all tokens given so far become invalid, once
    pax8_calls_per_minute: int | None = None  # more: 429
    item_pages: Literal["stable", "reordered", "shuffled", "repeating", "missing"] = "stable"  # what paging of items
    # gives: one order; another one at each reading; another one at each page; a row twice; a row less than counted
    oversize: Literal["refused", "capped"] = "refused"  # a page size above 200
    seats_move_at_page: int | None = (
        None  # whenever this page of /subscriptions is asked for, the last one's seats grow
    )

    # --- HaloPSA: login and rights -----------------------------------------------------------------------------------
    authinfo: Literal["present", "404"] = "present"  # GET /api/authinfo
    tenant: str | None = None  # the token call must name it in its query; a wrong one gives 500
    required_header: tuple[str, str] | None = None  # (name, value) without which every call gets 403
    role_lacks: tuple[str, ...] = ()  # modules missing to the agent's role ("invoices"): lists work, the rest gives 401
    halo_token_life_s: int = 3_600
    halo_tokens_void_at_call: int | None = None
    halo_calls_per_5_minutes: int | None = None  # the hosted service allows 300

    # --- HaloPSA: lists ----------------------------------------------------------------------------------------------
    list_cap: int = 50  # rows of a list that is neither paged nor counted
    max_page_size: int | None = None  # larger pages are cut to it silently
    list_paging: Literal["honoured", "ignored", "repeats"] = "honoured"  # repeats: every page is the first
    list_has_lines: bool = True  # whether `includelines` works in lists
    date_filter: Literal["supported", "ignored"] = "supported"  # start_date, end_date, datesearch (builds of 2026)
    client_ids_filter: Literal["supported", "ignored"] = "supported"
    inactive_clients: Literal["on_request", "listed"] = "on_request"  # listed: even without `includeinactive`
    client_rows: Literal["full", "short"] = "full"  # short: currency, payer and flags only in GET /Client/{id}
    item_rows: Literal["full", "short"] = "full"  # short: externalreference only in GET /Item/{id}
    currency_field: Literal["all", "id", "name", "iso", "none"] = "all"  # where a client carries its currency:
    # default_currency_code, default_currency_code_name, currencyisocode

    # --- HaloPSA: writing ----------------------------------------------------------------------------------------
    post_status: Literal[201, 200] = 201
    post_answer: Literal["object", "list"] = "object"
    answer_lines: bool = True  # whether the answer to a POST holds the lines
    lines_semantics: Literal["replace", "merge"] = "replace"  # merge: lines left out of a header POST stay
    line_properties: Literal["reset", "kept"] = "reset"  # properties left out of an existing line in a header POST
    add_lines: Literal["append", "ignored"] = "append"
    updatelines: Literal["upsert", "append", "ignored"] = "upsert"  # append: even rows with an id become new lines
    change_seq: Literal["present", "absent"] = "present"
    change_seq_conflict: Literal["400", "409", "ignored"] = "400"  # a `last_change_seq` that is not the current one
    closed_edit: Literal["refused", "accepted"] = "refused"  # writing to a posted, synced, paid or voided invoice
    posts_on_save: bool = False  # accounting takes an invoice the moment it is saved: it is closed at once
    unit_price_from: Literal["unit_price", "baseprice"] = "unit_price"  # which property is the input
    item_overwrites: tuple[str, ...] = ()  # line properties that are taken from the item where `_itemid` is set
    marker_fields_kept: tuple[str, ...] = ("longdescription", "productnumber", "customfields", "internal_note")
    customfields: tuple[int, ...] = (101,)  # ids that lines and headers know; others are ignored
    text_limit: int | None = 4_000  # of columns such as item_shortdescription, productnumber, reference
    longdescription_limit: int | None = None
    round_amounts: int | None = 2  # decimals of a line's net_amount; None: stored as it comes out
    float_sums: bool = False  # amounts go through floats, as in a float column
    prorata_on_change: bool = False  # a changed quantity of a recurring line adds an entry to its prorata_data
    prorata_sent: Literal["ignored", "kept", "doubled"] = (
        "ignored"  # prorata_data of a line that is sent: what is there
    )
    # stays; the sent list takes its place; the sent entries are added to those there
    invoice_date_shift_h: int = 0  # hours by which a stored invoice_date moves (time zones)

    # --- HaloPSA: invoices made from recurring ones -------------------------------------------------------------------
    schedule: Literal["on", "off"] = "on"  # off: only a person's command makes them
    made_approval: Literal["none", "before", "after"] = (
        "none"  # before it is made; after: the invoice made waits for it
    )
    made_catch_up: Literal["each", "once"] = "each"  # where several periods passed: an invoice for each, or one in all
    one_time: Literal["kept", "dropped", "ignored", "unsettable"] = (
        "kept"  # a line with `onetimecharge`, once invoiced:
    )
    # stays and is not charged again; goes; is charged again like any other. unsettable: the flag that is sent is lost
    made_prorata: Literal["folded", "added", "left"] = (
        "folded"  # prorata_data: into the quantity of the invoice made, and gone; left: as if not there
    )
    # added: gone, and from then on part of the recurring line's own quantity too
    prorata_list: Literal["present", "404"] = "present"  # GET /InvoiceDetailProRata
    made_fields_copied: tuple[str, ...] = ("longdescription", "productnumber", "customfields", "internal_note")
    made_header_id: bool = True  # whether answers name the template of an invoice, on header and lines
    made_line_ids: bool = True  # whether answers name the template's line, on the lines
    lastcreated: Literal["time", "date", "never"] = "time"  # how answers tell it; never: as if none had been made
    nextcreationdate: Literal["told", "never"] = "told"
    recurring_filter: Literal["supported", "ignored"] = "supported"  # `recurringinvoice_id` on GET /Invoice

    def own(self, text: str) -> str:
        """The text with the account's name in it, so that no two accounts have the same."""
        return f"{text}-{self.account}" if self.account else text

    def latency_of(self, service: str) -> int:
        """Milliseconds that a call of pax8 or halo takes at least."""
        return self.latency_ms if service == "pax8" or self.halo_latency_ms is None else self.halo_latency_ms

    def __post_init__(self) -> None:
        if not re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", self.month, re.ASCII):
            raise ValueError(f"month is written like 2026-11, not {self.month!r}")
        for name, least in {"clients": 1, "history": 0, "latency_ms": 0, "list_cap": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}")
        if self.charges is not None and self.charges < 1:
            raise ValueError("charges must be at least 1")
        for field, allowed in _CHOICES.items():
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} is one of {', '.join(map(str, allowed))}, not {getattr(self, field)!r}")


def _choices() -> dict[str, tuple[Any, ...]]:
    hints = get_type_hints(SandboxOptions)
    return {
        field.name: get_args(hints[field.name])
        for field in fields(SandboxOptions)
        if get_origin(hints[field.name]) is Literal
    }


_CHOICES = _choices()
