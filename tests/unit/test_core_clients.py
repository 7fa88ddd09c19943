"""Which client a company is [C1], whether it may be billed [C2], in which currency [C3]; fault 21."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from test_core_notation import CLIENTS, charge, client_of, fate_of, fates_of, lines, month, rules

from billingsync.core.bill.names import normalise
from billingsync.core.bill.plan_run import plan_run
from billingsync.core.inputs import Client, Company, Memory
from billingsync.core.remembered import Billed, RememberedMatch
from billingsync.core.rules import ClientFile

HERE = Company(id="c-1", name="Contoso Ltd")


def matched(company: Company = HERE, *, others: tuple[Company, ...] = (), **said: Any) -> tuple[int | None, str | None]:
    """(client id, how) of one company, or (None, reason); `others` have charges this month too. A guess counts here:
    that it waits by default is asked apart."""
    base = said.pop("base", rules())
    said["base"] = replace(base, clients=replace(base.clients, guessed="post"))
    charges = [charge(company.id, company=company.id, company_name=company.name)]
    charges += [charge(other.id, company=other.id, company_name=other.name) for other in others]
    plan = plan_run(month(*charges, companies=(company, *others), **said))
    client = next(one for one in plan.clients if one.company_id == company.id)
    return (None, client.held) if client.held else (client.client_id, client.matched_by)


def remembered(client_id: int | None, how: str, name: str = "Contoso Ltd") -> Memory:
    match = RememberedMatch(client_id=client_id, how=how, company_name=name)
    return Memory(matches={"c-1": match})


def file(**said: Any) -> ClientFile:
    return ClientFile(path="rules/clients/contoso.toml", rules=rules(), **said)


def likely(*client_ids: int, percent: str = "93.3") -> dict[str, tuple[tuple[int, Decimal], ...]]:
    return {"c-1": tuple((client_id, Decimal(percent)) for client_id in client_ids)}


NEAR = (Client(id=1, name="Contosso", currency="USD"), Client(id=2, name="Kontoso", currency="USD"))


# --- [C1] the order ----------------------------------------------------------------------------------------------

STEPS: dict[str, dict[str, Any]] = {  # each step alone leads to the client of its number
    "rules": {"files": (file(pax8_company="c-1", halo_client=1),)},
    "person": {"memory": remembered(2, "person")},
    "external_id": {"company": Company(id="c-1", name="Contoso Ltd", external_id="3")},
    "name": {},
    "similarity": {"similar": likely(5)},
}
FIVE = tuple(
    Client(id=n, name=name, currency="USD") for n, name in enumerate(["A", "B", "C", "CONTOSO", "Contosso"], start=1)
)


@pytest.mark.parametrize("first", range(5))
def test_C1_steps_are_tried_in_order(first: int) -> None:
    """With every later step leading elsewhere, the earlier one decides."""
    said: dict[str, Any] = {}
    for name in list(STEPS)[first:]:
        said |= STEPS[name]
    # An equal name is no later step that an external id goes before: against one it counts for nothing [C1b].
    clients = FIVE if first in (0, 1, 3) else (*FIVE[:3], FIVE[4])
    assert matched(**said, clients=clients) == (first + 1, list(STEPS)[first])


@pytest.mark.parametrize(
    "said",
    [
        {"pax8_company": "c-1", "halo_client": 2},
        {"name": "Contoso Ltd", "halo_client": 2},
        {"pax8_company": "c-1", "name": "Another name", "halo_client": 2},
    ],
)
def test_C1_a_rules_file_names_the_company_by_id_or_by_exact_name(said: dict[str, Any]) -> None:
    assert matched(files=(file(**said),)) == (2, "rules")


@pytest.mark.parametrize(
    "said",
    [{"pax8_company": "c-9", "halo_client": 2}, {"name": "contoso ltd", "halo_client": 2}, {"pax8_company": "c-1"}],
)
def test_C1_a_rules_file_of_another_company_or_without_a_client_makes_no_match(said: dict[str, Any]) -> None:
    assert matched(files=(file(**said),)) == (1, "name")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("rules", {"files": (file(pax8_company="c-1", halo_client=99),)}),
        ("person", {"memory": remembered(99, "person")}),
    ],
)
def test_C1_what_a_person_said_is_never_replaced_by_a_guess(step: str, said: dict[str, Any]) -> None:
    """A client that HaloPSA does not list: held, although the name would lead somewhere."""
    assert matched(**said) == (None, "client_unmapped")


@pytest.mark.parametrize(
    ("external_id", "found"),
    [("2", (2, "external_id")), (" 2 ", (2, "external_id"))]
    + [(odd, (None, "client_unmapped")) for odd in ("", "99", "-2", "2.0", "x2", "²", "٢", "2,3", "9" * 5000)],
)
def test_C1_external_id_counts_where_it_is_the_id_of_a_client(external_id: str, found: tuple[int, str]) -> None:
    assert matched(Company(id="c-1", name="Adventure Works", external_id=external_id)) == found


def test_C1b_an_external_id_that_contradicts_an_equal_name_waits() -> None:
    assert matched(Company(id="c-1", name="Contoso", external_id="2")) == (None, "client_ambiguous")
    inactive = (Client(id=1, name="Contoso", currency="USD", inactive=True), *CLIENTS[1:])
    assert matched(Company(id="c-1", name="Contoso", external_id="2"), clients=inactive) == (None, "client_ambiguous")
    assert matched(Company(id="c-1", name="Contoso", external_id="1")) == (1, "external_id")


def test_C1b_the_client_that_it_names_is_billed_for_who_has_its_name() -> None:
    """Cedar's externalId is Dogwood's client id: Cedar waits, and Dogwood does not."""
    clients = (Client(id=201, name="Cedar Dental", currency="USD"), Client(id=202, name="Dogwood Law", currency="USD"))
    cedar = Company(id="c-1", name="Cedar Dental", external_id="202")
    dogwood = Company(id="c-9", name="Dogwood Law")
    assert matched(cedar, others=(dogwood,), clients=clients) == (None, "client_ambiguous")
    assert matched(dogwood, others=(cedar,), clients=clients) == (202, "name")
    dogwood = Company(id="c-9", name="Dogwood Law", external_id="202")
    assert matched(dogwood, others=(cedar,), clients=clients) == (202, "external_id")


def test_C1b_companies_of_unlike_names_that_share_an_external_id_wait() -> None:
    one, other = Company(id="c-1", name="One", external_id="1"), Company(id="c-9", name="Other", external_id="1")
    for company, rival in ((one, other), (other, one)):
        assert matched(company, others=(rival,)) == (None, "client_ambiguous")
    charges = [charge("1", company="c-1", company_name="One")]
    assert fate_of(*charges, companies=(one, other)) == "held client_ambiguous"  # also where the other buys nothing
    gone = replace(other, status="Deleted")
    assert fate_of(*charges, companies=(one, gone)) == "posted"


def test_C1b_two_records_of_one_customer_may_share_an_external_id() -> None:
    one, other = Company(id="c-1", name="One Ltd", external_id="1"), Company(id="c-9", name="One", external_id="1")
    assert matched(one, others=(other,)) == (1, "external_id")


@pytest.mark.parametrize("how", ["name", "external_id"])
def test_C1b_who_pays_changes_only_by_a_person(how: str) -> None:
    company = HERE if how == "name" else Company(id="c-1", name="Adventure Works", external_id="1")
    memory = Memory(billed={"c-1": Billed(client_id=3, client_name="Litware Inc", period="2026-10")})
    assert matched(company, memory=memory) == (None, "client_changed")
    same = Memory(billed={"c-1": Billed(client_id=1, client_name="Contoso", period="2026-10")})
    assert matched(company, memory=same)[0] == 1
    by_person = replace(memory, matches=remembered(1, "person").matches)
    assert matched(company, memory=by_person) == (1, "person")
    files = (file(pax8_company="c-1", halo_client=1),)
    assert matched(company, memory=memory, files=files) == (1, "rules")


@pytest.mark.parametrize(
    ("company", "client", "how"),
    [
        ("Contoso Ltd", "Contoso Limited", "name"),
        ("Contoso Inc", "CONTOSO, Incorporated", "name"),
        ("Contoso", "Contoso GmbH", "name"),
        ("Contoso S.A.", "Contoso", "name"),
        ("Contoso Inc", "Contoso LLC", "similarity"),
        ("Contoso Ltd", "Contoso GmbH", "similarity"),
        ("Studio 54", "Studio 54 Ltd", "name"),
        ("Studio 54", "Studio 55", "client_unmapped"),
        ("Studio", "Studio 5", "client_unmapped"),
    ],
)
def test_C1a_what_makes_two_names_equal(company: str, client: str, how: str) -> None:
    one, clients = Company(id="c-1", name=company), (Client(id=1, name=client, currency="USD"),)
    assert matched(one, clients=clients, similar=likely(1, percent="100"))[1] == how


def test_C1a_letters_win_over_likeness_and_who_is_active_over_who_is_not() -> None:
    clients = (Client(id=1, name="Contoso", currency="USD"), Client(id=2, name="Contoso Ltd", currency="USD"))
    assert matched(HERE, clients=clients) == (2, "name")
    assert matched(Company(id="c-1", name="CONTOSO LTD"), clients=clients) == (None, "client_ambiguous")
    retired = (replace(clients[0], inactive=True), replace(clients[1], name="Contoso Limited"))
    assert matched(HERE, clients=retired) == (2, "name")


@pytest.mark.parametrize("how", ["external_id", "rules", "name", "similarity"])
def test_C1_a_client_that_was_billed_does_not_become_another_in_silence(how: str) -> None:
    """Its external id or its rules file is gone, and its name is another client's: somebody else would pay."""
    assert matched(memory=remembered(3, how)) == (None, "client_ambiguous")
    assert matched(memory=remembered(1, how))[0] == 1


@pytest.mark.parametrize("accent", ["O´Brien", "O'Brien", "O’Brien", "O`Brien"])
def test_C1_an_accent_for_an_apostrophe_joins_a_name(accent: str) -> None:
    assert normalise(accent) == normalise("OBrien")


def test_C1_external_id_may_stand_on_the_charge_where_the_company_is_not_listed() -> None:
    plan = plan_run(month(charge(external_id="2", company_name="Adventure Works"), companies=()))
    assert (client_of(plan, "Adventure Works").client_id, client_of(plan, "Adventure Works").matched_by) == (
        2,
        "external_id",
    )


@pytest.mark.parametrize(
    "name",
    [
        "Contoso Ltd",
        "CONTOSO",
        "contoso, ltd.",
        "  Contoso   Limited ",
        "Ｃｏｎｔｏｓｏ",
    ],
)
def test_C1_names_are_equal_but_for_case_punctuation_spaces_and_legal_suffixes(name: str) -> None:
    ours = (Client(id=1, name="Contoso Ltd", currency="USD"),)
    assert matched(Company(id="c-1", name=name), clients=ours) == (1, "name")


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("O'Brien & Sons, Ltd.", "obrien sons"),
        ("Müller GmbH & Co. KG", "müller"),
        ("STRASSE AG", "strasse"),
        ("Straße AG", "strasse"),
        ("Data-Point", "data point"),
        ("Ltd", "ltd"),
        ("Limited Inc", "limited"),
        ("Inc Contoso", "inc contoso"),
        ("Contoso Europe", "contoso europe"),
        ("!!!", ""),
        ("", ""),
        ("日本 株式会社", "日本 株式会社"),
    ],
)
def test_C1_normal_form(name: str, normal: str) -> None:
    assert normalise(name) == normal


@pytest.mark.parametrize("name", ["Contoso Europe", "Contosu", "Contoso2", "!!!", ""])
def test_C1_no_candidate_is_unmapped(name: str) -> None:
    assert matched(Company(id="c-1", name=name), clients=(*CLIENTS, Client(id=4, name="???"))) == (
        None,
        "client_unmapped",
    )


def test_C1_two_clients_of_one_name_are_ambiguous() -> None:
    clients = (*CLIENTS, Client(id=4, name="Contoso, Ltd."))
    assert matched(Company(id="c-1", name="CONTOSO"), clients=clients) == (None, "client_ambiguous")


def test_C1_similarity_takes_one_candidate_and_says_how_sure_it_is() -> None:
    plan = plan_run(month(charge(), clients=NEAR, similar=likely(1)))
    assert (client_of(plan).client_id, client_of(plan).matched_by) == (1, "similarity")
    assert client_of(plan).guessed == "93.3 % similar"


def test_C1_similarity_with_two_candidates_is_ambiguous_whichever_comes_first() -> None:
    assert matched(clients=NEAR, similar=likely(1, 2)) == (None, "client_ambiguous")
    assert matched(clients=NEAR, similar=likely(2, 1)) == (None, "client_ambiguous")


def test_C1_similarity_below_the_rules_percent_is_nothing() -> None:
    assert matched(clients=NEAR, similar=likely(1, percent="89.9")) == (None, "client_unmapped")
    assert matched(clients=NEAR, similar=likely(1, percent="90")) == (1, "similarity")
    strict = rules(clients={"match_percent": 95})
    assert matched(clients=NEAR, similar=likely(1), base=strict) == (None, "client_unmapped")


def test_fault_21_a_look_alike_in_another_alphabet_is_no_likeness() -> None:
    cyrillic = Company(id="c-1", name="Соntosо Ltd")
    assert matched(cyrillic) == (None, "client_unmapped")
    assert matched(cyrillic, similar=likely(1)) == (None, "client_unmapped")


# --- [C1] other companies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"company": Company(id="c-9", name="Contosso Inc")},  # of the same name
        {"company": Company(id="c-9", name="X", external_id="1")},
        {"company": Company(id="c-9", name="X"), "files": (file(pax8_company="c-9", halo_client=1),)},
    ],
    ids=["equal name", "external id", "rules file"],
)
def test_C1_a_client_that_another_company_claims_is_not_taken_by_likeness(other: dict[str, Any]) -> None:
    said = {key: value for key, value in other.items() if key != "company"}
    found = matched(clients=NEAR, similar=likely(1), others=(other["company"],), **said)
    assert found in ((None, "client_ambiguous"), (None, "client_unmapped"))


def test_C1_two_companies_like_one_client_are_both_held() -> None:
    similar = likely(1) | {"c-9": ((1, Decimal(92)),)}
    other = Company(id="c-9", name="Contozo")
    assert matched(clients=NEAR, similar=similar, others=(other,)) == (None, "client_ambiguous")
    assert matched(other, clients=NEAR, similar=similar, others=(HERE,)) == (None, "client_ambiguous")


def test_C1_two_companies_of_one_name_are_both_held() -> None:
    other = Company(id="c-9", name="CONTOSO")
    assert matched(others=(other,)) == (None, "client_ambiguous")
    assert matched(other, others=(HERE,)) == (None, "client_ambiguous")


def test_C1_an_equal_name_is_not_lost_to_a_company_that_is_only_similar() -> None:
    """Equal names come before similarity: the similar company waits, the one with the name is billed."""
    other = Company(id="c-9", name="Contosso")
    similar = {"c-9": ((1, Decimal("93.3")),)}
    assert matched(others=(other,), similar=similar) == (1, "name")
    assert matched(other, others=(HERE,), similar=similar)[0] is None


def test_C1_a_company_that_is_never_billed_claims_no_client() -> None:
    other = Company(id="c-9", name="Contoso (old)")
    found = {"similar": likely(1) | {"c-9": ((1, Decimal(92)),)}, "clients": NEAR, "others": (other,)}
    assert matched(base=rules(exclude={"companies": ["c-9"]}), **found) == (1, "similarity")
    assert matched(files=(file(pax8_company="c-9", exclude=True),), **found) == (1, "similarity")


def test_C1_two_companies_that_people_gave_one_client_share_its_invoice() -> None:
    charges = [charge("1", "10.00"), charge("2", "5.00", company="Fabrikam GmbH")]
    files = (file(pax8_company="c-1", halo_client=3), file(pax8_company="c-2", halo_client=3))
    (posting,) = plan_run(month(*charges, files=files)).postings
    assert (posting.client_id, posting.amount, len(posting.lines)) == (3, Decimal("15.00"), 2)


# --- memory ------------------------------------------------------------------------------------------------------


def test_C1_a_person_may_say_that_a_company_is_never_billed() -> None:
    plan = plan_run(month(charge(), memory=remembered(None, "person")))
    assert [(out.charge, out.rule) for out in client_of(plan).excluded] == [("inv:1", "company")]
    assert (client_of(plan).matched_by, client_of(plan).client_id) == ("person", None)


@pytest.mark.parametrize(
    ("memory", "fate"),
    [
        (Memory(), "held client_guessed"),
        (remembered(1, "similarity"), "held client_guessed"),
        (remembered(1, "person"), "posted"),  # `map companies --auto` makes it a person's
    ],
)
def test_C1_a_guess_waits_unless_the_rules_say_otherwise_until_a_person_confirms_it(memory: Memory, fate: str) -> None:
    assert fate_of(charge(), memory=memory, clients=NEAR, similar=likely(1)) == fate
    bold = rules(clients={"guessed": "post"})
    assert fate_of(charge(), memory=memory, clients=NEAR, similar=likely(1), base=bold) == "posted"


@pytest.mark.parametrize("how", ["name", "similarity"])
def test_C2_a_company_that_was_renamed_since_it_was_matched_by_name_waits(how: str) -> None:
    assert matched(memory=remembered(1, how, "Adventure Works")) == (None, "client_renamed")
    assert matched(memory=remembered(1, how, "CONTOSO, Limited")) == (1, "name")  # the same name, written otherwise


@pytest.mark.parametrize("how", ["person", "external_id", "rules"])
def test_C2_a_match_that_did_not_come_from_the_name_outlives_it(how: str) -> None:
    assert matched(memory=remembered(1, how, "Adventure Works"))[0] == 1


@pytest.mark.parametrize("how", ["name", "similarity"])
def test_C1_a_match_never_moves_to_another_client_by_itself(how: str) -> None:
    assert matched(memory=remembered(3, how)) == (None, "client_ambiguous")
    assert matched(memory=remembered(3, how), clients=NEAR, similar=likely(1)) == (None, "client_ambiguous")
    assert matched(memory=remembered(1, how), clients=NEAR, similar=likely(1)) == (1, "similarity")


# --- [C2] --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"inactive": True}, "client_inactive"),
        ({"dont_invoice": True}, "client_inactive"),
        ({"merged_into": 2}, "client_inactive"),
        ({"pays_through": 2}, "client_pays_through_other"),
    ],
)
@pytest.mark.parametrize("step", ["rules", "person", "external_id", "name", "similarity"])
def test_C2_a_client_that_must_not_be_invoiced_waits_however_it_was_matched(
    odd: dict[str, Any], reason: str, step: str
) -> None:
    said: dict[str, Any] = {
        "rules": {"files": (file(pax8_company="c-1", halo_client=1),)},
        "person": {"memory": remembered(1, "person")},
        "external_id": {"companies": (Company(id="c-1", name="?", external_id="1"),)},
        "name": {},
        "similarity": {"similar": likely(1)},
    }[step]
    name = "Contosso" if step == "similarity" else "Contoso"
    client = Client(id=1, name=name, currency="USD", **odd)
    assert fate_of(charge(), clients=(client, *CLIENTS[1:]), **said) == f"held {reason}"


@pytest.mark.parametrize(
    ("behavior", "odd", "fate"),
    [
        ("new", {"pays_through": 2}, "held client_pays_through_other"),
        ("new", {"pays_recurring_through": 2}, "posted"),
        ("recurring", {"pays_recurring_through": 2}, "held client_pays_through_other"),
        ("recurring", {"pays_through": 2}, "held recurring_unmapped"),
        ("new", {"pays_through": 0}, "posted"),
    ],
)
def test_C2_halopsa_knows_another_payer_for_recurring_invoices(behavior: str, odd: dict[str, int], fate: str) -> None:
    client = Client(id=1, name="Contoso", currency="USD", **odd)
    assert fate_of(charge(), clients=(client,), base=rules(invoice={"behavior": behavior})) == fate


# --- [C3] --------------------------------------------------------------------------------------------------------


def test_C3_a_charge_in_another_currency_waits_and_the_others_go_on() -> None:
    found = fates_of(charge("1"), charge("2", currency="EUR"), charge("3"))
    assert found == {"1": "posted", "2": "held currency_mismatch", "3": "posted"}


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD"])
def test_C3_a_client_is_billed_in_its_own_currency(currency: str) -> None:
    clients = (Client(id=1, name="Contoso", currency=currency),)
    (posting,) = plan_run(month(charge(currency=currency), clients=clients)).postings
    assert posting.currency == currency


UNSAID = (Client(id=1, name="Contoso"), Client(id=2, name="Fabrikam"))


def test_C3_where_halopsa_says_no_currency_one_among_the_charges_will_do() -> None:
    plan = plan_run(month(charge("1", currency="EUR"), charge("2", currency="EUR"), clients=UNSAID))
    assert [(posting.currency, posting.amount) for posting in plan.postings] == [("EUR", Decimal("20.00"))]
    mixed = fates_of(charge("1", currency="EUR"), charge("2"), clients=UNSAID)
    assert mixed == {"1": "held currency_mismatch", "2": "held currency_mismatch"}


@pytest.mark.parametrize(
    "other",
    [
        {"type": "rebate"},
        {"problem": "total: not a number"},
    ],
    ids=["excluded", "bad amount"],
)
def test_C3_what_is_not_billed_does_not_say_in_which_currency_the_rest_is(other: dict[str, str]) -> None:
    """A rebate in euros is excluded; the dollars go on a dollar invoice."""
    plan = plan_run(month(charge("0", currency="EUR", **other), charge("1", "10.00"), clients=UNSAID))
    assert [(posting.currency, posting.amount) for posting in plan.postings] == [("USD", Decimal("10.00"))]
    assert {account.currency: account.price.posted for account in plan.accounts}["USD"] == Decimal("10.00")


def test_A1_no_charge_of_a_held_client_is_lost() -> None:
    plan = plan_run(month(charge("1"), charge("2", type="rebate"), clients=()))
    assert lines(plan) == []
    assert client_of(plan).held == "client_unmapped"
    assert [hold.charge for hold in client_of(plan).holds] == ["inv:1"]
    assert all(hold.next_step for hold in client_of(plan).holds)


# --- what a hold says [A4] ---------------------------------------------------------------------------------------

SET = 'billingsync map companies --set "Contoso Ltd={}"'
SET_OPEN = 'billingsync map companies --set "Contoso Ltd"=HALO_CLIENT_ID'


@pytest.mark.parametrize(
    ("said", "reason", "detail", "step"),
    [
        (
            {"files": (file(pax8_company="c-1", halo_client=99),)},
            "client_unmapped",
            "rules/clients/contoso.toml names HaloPSA client 99, which HaloPSA does not list",
            "correct halo_client in rules/clients/contoso.toml",
        ),
        (
            {"memory": remembered(99, "person")},
            "client_unmapped",
            "it was mapped by hand to HaloPSA client 99, which HaloPSA no longer lists",
            SET_OPEN,
        ),
        (
            {"memory": remembered(1, "name", "Adventure Works")},
            "client_renamed",
            "Pax8 called it 'Adventure Works' when it was matched by name; now it is 'Contoso Ltd'",
            SET.format(1),
        ),
        ({"clients": ()}, "client_unmapped", "no HaloPSA client has this name or one like it", SET_OPEN),
        (
            {"clients": tuple(Client(id=n, name="Contoso") for n in range(1, 7))},
            "client_ambiguous",
            "several HaloPSA clients could be meant: Contoso (1), Contoso (2), Contoso (3), Contoso (4)",
            SET_OPEN,
        ),
        (
            {"others": (Company(id="c-9", name="CONTOSO"),)},
            "client_ambiguous",
            "another company of this month could also be the HaloPSA client Contoso Ltd (1)",
            SET.format(1),
        ),
        (
            {"memory": remembered(3, "name")},
            "client_ambiguous",
            "it was matched to HaloPSA client 3 before, and now 1 has its name",
            SET.format(1),
        ),
        (
            {"clients": (Client(id=1, name="Contoso", inactive=True),)},
            "client_inactive",
            "the HaloPSA client Contoso (1) is inactive",
            "allow invoices for the client in HaloPSA, then plan again",
        ),
        (
            {"clients": (Client(id=1, name="Contoso", dont_invoice=True),)},
            "client_inactive",
            "the HaloPSA client Contoso (1) is set not to be invoiced",
            "allow invoices for the client in HaloPSA, then plan again",
        ),
        (
            {"clients": (Client(id=1, name="Contoso", merged_into=7),)},
            "client_inactive",
            "the HaloPSA client Contoso (1) was merged into client 7",
            "allow invoices for the client in HaloPSA, then plan again",
        ),
        (
            {"clients": (Client(id=1, name="Contoso", pays_through=7),)},
            "client_pays_through_other",
            "HaloPSA invoices client 7 for Contoso (1)",
            SET.format(7),
        ),
    ],
    ids=[
        "file",
        "by hand",
        "renamed",
        "none",
        "several",
        "claimed",
        "moved",
        "inactive",
        "dontinvoice",
        "merged",
        "payer",
    ],
)
def test_A4_a_hold_names_the_clients_and_the_command(said: dict[str, Any], reason: str, detail: str, step: str) -> None:
    others = said.pop("others", ())
    charges = [charge("1"), *(charge(one.id, company=one.id, company_name=one.name) for one in others)]
    plan = plan_run(month(*charges, companies=(HERE, *others), **said))
    (hold,) = next(client for client in plan.clients if client.company_id == "c-1").holds
    assert (hold.reason, hold.detail, hold.next_step) == (reason, detail, step)


@pytest.mark.parametrize(
    ("odd", "reason"),
    [({"inactive": True}, "client_inactive"), ({"pays_through": 2}, "client_pays_through_other")],
)
def test_C2_a_client_that_waits_is_still_shown_with_how_it_was_matched(odd: dict[str, Any], reason: str) -> None:
    clients = (Client(id=1, name="Contosso", currency="USD", **odd),)
    client = client_of(plan_run(month(charge(), clients=clients, similar=likely(1))))
    assert (client.held, client.client_id, client.client_name) == (reason, 1, "Contosso")
    assert (client.matched_by, client.guessed) == ("similarity", "93.3 % similar")


def test_C2_an_inactive_client_that_pays_through_another_is_inactive_first() -> None:
    clients = (Client(id=1, name="Contoso", currency="USD", inactive=True, pays_through=2),)
    assert matched(clients=clients) == (None, "client_inactive")


@pytest.mark.parametrize(
    "ended",
    [
        {"base": rules(exclude={"companies": ["c-9"]})},
        {"base": rules(exclude={"companies": ["CONTOSO"]})},
        {"files": (ClientFile(path="9.toml", name="CONTOSO", exclude=True),)},
        {"files": (ClientFile(path="9.toml", name="CONTOSO", rules=rules(exclude={"companies": ["c-9"]})),)},
    ],
    ids=["id", "name", "file", "rules of the file"],
)
def test_C1_a_namesake_that_is_never_billed_claims_no_name(ended: dict[str, Any]) -> None:
    """By a firm claim or by a weak one: who is left out stands in nobody's way."""
    other = Company(id="c-9", name="CONTOSO")
    assert matched(others=(other,), **ended) == (1, "name")


@pytest.mark.parametrize(
    "other",
    [
        {"others": (Company(id="c-9", name="X"),), "files": (file(pax8_company="c-9", halo_client=1),)},
        {"others": (Company(id="c-9", name="X", external_id="1"),)},
    ],
    ids=["rules", "external id"],
)
def test_C1_a_client_that_people_gave_to_another_company_is_not_taken_by_an_equal_name(other: dict[str, Any]) -> None:
    assert matched(**other) == (None, "client_ambiguous")


def test_C1_a_company_that_a_person_gave_to_another_client_claims_no_namesake() -> None:
    other = Company(id="c-9", name="CONTOSO")
    assert matched(other, others=(HERE,), memory=remembered(3, "person")) == (1, "name")
    assert matched(others=(other,), memory=remembered(3, "person")) == (3, "person")


@pytest.mark.parametrize("how", ["rules", "external_id"])
def test_C1_who_is_never_billed_claims_nothing_by_what_people_said_either(how: str) -> None:
    other = Company(id="c-9", name="X", external_id="1" if how == "external_id" else "")
    files = (file(pax8_company="c-9", halo_client=1, exclude=True),) if how == "rules" else ()
    base = rules(exclude={"companies": ["c-9"]})
    assert matched(others=(other,), base=base, files=files) == (1, "name")


def test_C1_a_likely_client_that_is_not_listed_is_none() -> None:
    assert matched(clients=NEAR, similar=likely(99)) == (None, "client_unmapped")
    assert matched(clients=NEAR, similar=likely(99, 1)) == (1, "similarity")


@pytest.mark.parametrize(("digits", "how"), [("0" * 10 + "2", "external_id"), ("0" * 11 + "2", "client_unmapped")])
def test_C1_external_id_is_a_number_of_at_most_11_digits(digits: str, how: str) -> None:
    assert matched(Company(id="c-1", name="Adventure Works", external_id=digits))[1] == how


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("Contoso_Europe", "contoso europe"),
        ("S.A. Contoso", "sa contoso"),
        ("Contoso Co. Ltd.", "contoso"),
        ("Ltd. Co.", "ltd"),
        ("O\u2019Brien", "obrien"),
        ("O`Brien", "obrien"),
    ],
)
def test_C1_normal_form_of_odd_names(name: str, normal: str) -> None:
    assert normalise(name) == normal


# --- whose file it is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        {"pax8_company": "c-9"},
        {"pax8_company": "c-9", "name": "Contoso Ltd"},
        {"pax8_company": "c-9", "halo_client": 1},
        {"name": "Another name", "halo_client": 1},
        {"halo_client": 2},
        {},
    ],
    ids=str,
)
def test_a_file_about_another_company_or_client_decides_nothing_here(said: dict[str, Any]) -> None:
    """A file that names a company is that company's, whatever else it says."""
    other = ClientFile(path="9.toml", rules=rules(exclude={"types": ["subscription"]}), **said)
    assert fate_of(charge(), files=(other,)) == "posted"


@pytest.mark.parametrize("turn", [1, -1])
def test_a_file_by_id_comes_before_one_by_name_and_that_before_one_by_client(turn: int) -> None:
    def own(kind: str, **said: Any) -> ClientFile:
        return ClientFile(path=f"{kind}.toml", rules=rules(exclude={"types": [kind]}), **said)

    by_id, by_name = own("subscription", pax8_company="c-1"), own("prorate", name="Contoso Ltd")
    by_client = own("one-time", halo_client=1)
    for files, out in (
        ((by_id, by_name, by_client), "1"),
        ((by_name, by_client), "2"),
        ((by_client,), "3"),
    ):
        charges = [charge("1"), charge("2", type="prorate"), charge("3", type="one-time")]
        found = fates_of(*charges, files=files[::turn])
        assert [name for name, fate in found.items() if fate == "excluded charge_type"] == [out]
