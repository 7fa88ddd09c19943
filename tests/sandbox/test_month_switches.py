"""The month under every answer to the open questions about HaloPSA (reference/halopsa 10)."""

import dataclasses
import shutil

import cli
import pytest
from cli import CALM, TEXT_ONLY, Office


@pytest.fixture
def office(sandbox, sqlite_template, tmp_path):
    sandbox.reset(CALM)
    shutil.copy(sqlite_template, tmp_path / "ledger.db")
    office = Office(tmp_path, sandbox, settings={"BILLINGSYNC_HALO__ABSENCE_S": "180"})
    office.rules(TEXT_ONLY)
    with cli.quick_time(sandbox):
        yield office


def under(office, **switches):
    """Before the first call, as HaloPSA is what it is."""
    office.sandbox.reset(dataclasses.replace(CALM, **switches))
    return office.sandbox


WELL = [
    {"post_answer": "list"},
    {"post_status": 200},
    {"answer_lines": False},
    {"list_paging": "ignored"},
    {"list_paging": "repeats"},
    {"list_has_lines": False},
    {"client_ids_filter": "ignored"},
    {"date_filter": "ignored"},
    {"max_page_size": 10},
    {"list_cap": 1},
    {"change_seq": "absent"},
    {"authinfo": "404"},
    {"tenant": "acme"},
    {"client_rows": "short"},
    {"item_rows": "short"},
    {"inactive_clients": "listed"},
    {"currency_field": "name"},
    {"currency_field": "iso"},
    {"currency_field": "id"},
    {"unit_price_from": "baseprice"},
    {"round_amounts": 4},
    {"round_amounts": None},
    {"float_sums": True, "round_amounts": None},
    {"posts_on_save": True},
    {"invoice_date_shift_h": 5},
    {"invoice_date_shift_h": -11},
    {"halo_tokens_void_at_call": 8},
    {"halo_token_life_s": 61},
    {"pax8_tokens_void_at_call": 3},
    {"longdescription_limit": 250},
    {"text_limit": 100},
    {"marker_fields_kept": ("longdescription",)},
    {"item_pages": "reordered"},
    {"oversize": "capped"},
    {"list_paging": "ignored", "client_ids_filter": "ignored", "list_has_lines": False},
    {"post_answer": "list", "answer_lines": False, "list_has_lines": False, "post_status": 200},
]


@pytest.mark.parametrize("switches", WELL, ids=str)
def test_the_month_is_billed_to_the_cent_and_once(office, switches):
    sandbox = under(office, **switches)
    before, due = sandbox.state(), cli.due(sandbox)

    ran = office.run("run", "--yes", "--json").must(0)

    assert cli.billed(sandbox, before) == due, ran.text
    cli.balanced(ran.json, returned=True)
    assert not office.plan()["clients"]
    assert not sandbox.alarms
    assert not sandbox.ignored, "properties that HaloPSA does not know were sent"
    found = cli.marks(sandbox)
    assert len(found) == len(set(found)) == sum(map(len, due.values()))


@pytest.mark.parametrize("switches", [one for one in WELL if set(one) & {"post_answer", "answer_lines", "list_paging",
                         "list_has_lines", "client_ids_filter", "max_page_size", "posts_on_save"}], ids=str)  # fmt: skip
def test_n2_a_lost_reply_is_found_again(office, switches):
    sandbox = under(office, **switches)
    before, due = sandbox.state(), cli.due(sandbox)
    sandbox.faults.add("halo:POST:/Invoice:1:504_after")
    sandbox.faults.add("halo:POST:/Invoice:3:reset_after")
    for _ in range(2):
        ran = office.run("run", "--yes", "--json").must(0, 1, 3)
    assert ran.code == 0, ran.text
    assert cli.billed(sandbox, before) == due


PLACES = {"longdescription": "longdescription", "productnumber": "productnumber", "customfield:101": "customfields"}


@pytest.mark.parametrize("setting", PLACES)
@pytest.mark.parametrize("kept", [(), ("longdescription",), ("productnumber",), ("customfields",), ("internal_note",)])
def test_n7_canary_stops_after_one_client_unless_its_marker_is_kept(office, kept, setting):
    sandbox = under(office, marker_fields_kept=kept)
    before, due = sandbox.state(), cli.due(sandbox)
    office.settings["BILLINGSYNC_HALO__MARKER"] = setting
    if PLACES[setting] in kept:
        office.run("run", "--yes", "--json").must(0)
        assert cli.billed(sandbox, before) == due
        return
    stopped = office.run("run", "--yes", "--json").must(1)
    assert stopped.json["error"]["code"] == "BS-MARKER-LOST"
    assert "BILLINGSYNC_HALO__MARKER" in stopped.json["error"]["message"]
    assert len(cli.written(sandbox, before)) == 1


def test_n7_the_next_run_with_the_same_setting_does_not_sacrifice_another_client(office):
    sandbox = under(office, marker_fields_kept=())
    before = sandbox.state()
    for _ in range(4):
        office.run("run", "--yes", "--json")
    assert len(cli.written(sandbox, before)) == 2, "each run bills one more client that nobody can recognise"


def test_n7_after_the_setting_was_mended_the_others_are_billed_and_the_first_is_held(office):
    sandbox = under(office, marker_fields_kept=("productnumber", "internal_note"))
    before, due = sandbox.state(), cli.due(sandbox)
    office.run("run", "--yes", "--json").must(1)
    office.settings["BILLINGSYNC_HALO__MARKER"] = "productnumber"
    office.run("run", "--yes", "--json").must(0, 3)
    assert cli.billed(sandbox, before) == due
    assert len(cli.written(sandbox, before)) == 4


def test_n5_halopsa_that_rounds_to_whole_units_is_an_alarm_at_the_first_client(office):
    """Every invoice would come out wrong: the first posting, which goes alone, shows it."""
    sandbox = under(office, round_amounts=0)
    before = sandbox.state()
    ran = office.run("run", "--yes", "--json").must(1, 3)
    assert len(cli.written(sandbox, before)) == 1, ran.text


@pytest.mark.parametrize("kept", ["fewer", "none"])
def test_a_tenant_where_items_overwrite_lines_is_told_so(office, kept):
    """Refused for a reason that the operator can act on, not "HaloPSA does not have it"."""
    overwritten = ("unit_price", "baseprice") if kept == "fewer" else ("item_longdescription", "item_shortdescription")
    sandbox = under(office, item_overwrites=overwritten)
    before = sandbox.state()
    office.rules("")
    ran = office.run("run", "--yes", "--json")
    assert ran.code in (1, 3)
    assert len(cli.written(sandbox, before)) <= 1, ran.text


@pytest.mark.parametrize("rows", ["full", "short"])
@pytest.mark.parametrize("where", ["name", "iso", "all"])
def test_c3_a_euro_charge_of_a_dollar_client_is_held_wherever_the_currency_stands(office, where, rows):
    office.sandbox.reset(dataclasses.replace(CALM, trouble=True, clients=12, charges=None, currency_field=where,
                                             client_rows=rows))  # fmt: skip
    plan = office.plan()
    [contoso] = [one for one in plan["clients"] if one["company_name"] == "Contoso Ltd" and one["currency"] == "USD"]
    reasons = [(hold["currency"], hold["reason"]) for hold in contoso["holds"]]
    assert ("EUR", "currency_mismatch") in reasons
    assert ("USD", "currency_mismatch") not in reasons, "its own currency is not known"


def test_c3_euro_charges_of_a_dollar_client_are_held_also_where_only_the_currency_id_is_there(office):
    """`default_currency_code` 1 is USD by GET /Currency; to bill this client in euro amounts is to bill it wrongly."""
    sandbox = under(office, currency_field="id")
    before = sandbox.state()
    sandbox.halo.clients[215]["default_currency_code"] = 1  # Contoso Europe, all of whose charges are in euro
    office.run("run", "--yes", "--json").must(0, 3)
    assert 215 not in cli.billed(sandbox, before)


@pytest.mark.parametrize("rows", ["full", "short"])
def test_c2_flags_of_clients_are_seen_also_where_lists_are_short(office, rows):
    office.sandbox.reset(dataclasses.replace(CALM, trouble=True, clients=12, charges=None, client_rows=rows))
    held = {one["company_name"]: one["held"] for one in office.plan()["clients"] if one["held"]}
    assert held["Graphic Design Institute"] == "client_inactive"
    assert held["Humongous Insurance"] == "client_inactive"
    assert held["Trey Research"] == "client_pays_through_other"
    assert held["Relecloud"] == "other_writer", "fault 3: HaloPSA's own Pax8 sync bills this client"


def test_a_role_without_invoices_posts_nothing_and_names_the_right(office):
    sandbox = under(office, role_lacks=("invoices",))
    before = sandbox.state()
    ran = office.run("run", "--yes", "--json").must(1)
    assert not cli.written(sandbox, before)
    assert "rights" in ran.stdout


def test_a_tenant_that_needs_a_header(office):
    sandbox = under(office, required_header=("X-Lift", "canary-header-value"))
    office.run("plan", "--json").must(1)
    office.settings["BILLINGSYNC_HALO__EXTRA_HEADERS"] = '{"X-Lift": "canary-header-value"}'
    office.run("run", "--yes", "--json").must(0)
    assert cli.billed(sandbox) == cli.due(sandbox)
