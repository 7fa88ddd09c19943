"""Every reason once, with a title and a way out; and steps that become text last, so that no name in them is mangled."""

from __future__ import annotations

import shlex

import pytest

from billingsync.core.reasons import DROPS, EXCLUSIONS, HOLDS, Exclusion, Modifier, Reason, title_of
from billingsync.core.rules import Rules
from billingsync.core.steps import Offer, Slot, command, instruction, quoted

A4 = """unknown_charge_type bad_amount client_unmapped client_ambiguous client_renamed client_inactive
client_pays_through_other currency_mismatch price_cost_sign zero_price_with_cost product_unmatched product_ambiguous
latest_closed latest_missing recurring_unmapped recurring_missing recurring_left_behind recurring_later_period
client_guessed line_edited line_automatic_quantity limit_change limit_margin limit_amount limit_negative
limit_new_client limit_new_product limit_missing_companies source_replaced source_changed source_duplicate
client_changed recurring_not_invoiced no_company write_unknown write_differs other_writer set_aside""".split()


def test_A4_every_documented_reason_exists() -> None:
    assert set(A4) <= {reason.value for reason in Reason}


@pytest.mark.parametrize("reason", list(Reason))
def test_A4_every_reason_has_a_title_and_a_step(reason: Reason) -> None:
    row = HOLDS[reason]
    assert row.title and row.title != reason.replace("_", " ").capitalize()
    assert row.steps and all(step.text for step in row.steps)


@pytest.mark.parametrize("code", [*Modifier, *Exclusion])
def test_A3_every_drop_and_exclusion_has_a_title(code: Modifier | Exclusion) -> None:
    assert {**DROPS, **EXCLUSIONS}[code].title == title_of(code)


@pytest.mark.parametrize("row", [*HOLDS.values(), *DROPS.values(), *EXCLUSIONS.values()], ids=lambda row: row.title)
def test_every_rules_key_exists(row: object) -> None:
    key = row.key  # type: ignore[attr-defined]
    section, _, name = key.partition(".")
    assert not key or hasattr(getattr(Rules(), section), name)


def test_a_reason_of_another_version_reads_as_its_name_does() -> None:
    assert title_of("moon_is_full") == "Moon is full"


# --- steps -------------------------------------------------------------------------------------------------------

APPROVE = command(Offer.BILL, "approve", Slot.DIGEST, "--client", Slot.CLIENT, "--reason", Slot.REASON)


def test_a_client_called_like_a_place_keeps_its_name() -> None:
    """Case 24: the digest was put in by replacing text, also in the name of a company."""
    step = APPROVE.filled({Slot.CLIENT: "DIGEST Systems Ltd"}).filled({Slot.DIGEST: "45d82b54b530"})
    assert step.command == (
        "billingsync",
        "approve",
        "45d82b54b530",
        "--client",
        "DIGEST Systems Ltd",
        "--reason",
        "TEXT",
    )
    assert step.text == 'billingsync approve 45d82b54b530 --client "DIGEST Systems Ltd" --reason TEXT'


def test_places_that_nothing_fills_are_left_to_people() -> None:
    assert APPROVE.text == "billingsync approve DIGEST --client CLIENT --reason TEXT"


def test_one_word_of_several_pieces_is_filled_bit_by_bit() -> None:
    step = command(Offer.BILL, "map", "companies", "--set", (Slot.COMPANY, "=", Slot.HALO_CLIENT))
    half = step.filled({Slot.COMPANY: "Tailspin Toys"})
    assert half.text == 'billingsync map companies --set "Tailspin Toys"=HALO_CLIENT_ID'
    assert half.filled({Slot.HALO_CLIENT: "214"}).text == 'billingsync map companies --set "Tailspin Toys=214"'


def test_charges_become_words_of_their_own() -> None:
    several = {Slot.CHARGES: ("a:1", "a:2"), Slot.CHARGE_OPTIONS: ("a:1", "a:2")}
    assert command(Offer.BILL, "put-back", Slot.CHARGES).filled(several).command[1:] == ("put-back", "a:1", "a:2")
    options = command(Offer.BILL, "approve", Slot.CHARGE_OPTIONS).filled(several)
    assert options.command[2:] == ("--charge", "a:1", "--charge", "a:2")


def test_an_instruction_says_names_as_they_are() -> None:
    step = instruction(Offer.LEAVE_OUT, "add ", Slot.VALUE, " in ", Slot.FILE)
    assert step.filled({Slot.VALUE: "A & B", Slot.FILE: "x.toml"}).text == "add A & B in x.toml"
    assert step.command == ()


@pytest.mark.parametrize("word", ["plain", "two words", "it's", 'say "hi"', "$(rm)", "`x`", "a!b", "back\\slash", ""])
def test_a_quoted_word_is_one_word_to_a_shell(word: str) -> None:
    assert shlex.split(quoted(word)) == [word]
