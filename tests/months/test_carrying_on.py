"""A plan of which a part was posted can be carried on by the same digest, whatever is held of it."""

from __future__ import annotations

import pytest
from scene import M365, Scene

RULES = '[client]\nhalo_client = 214\n[invoice]\nbehavior = "%s"\n'


def month(made: Scene, quantity: int = 9) -> None:
    made.month(
        "2026-11",
        made.charge(M365, quantity, "22.00", sub="s-1"),
        made.charge(M365, 1, "22.00", sub="s-2", type="mystery"),
        made.charge(M365, 3, "0.00", sub="s-3"),
    )


def post(made: Scene, digest: str, code: int) -> dict:
    return made.office.run("post", digest, "--json").must(code).json


@pytest.mark.parametrize("behavior", ["new", "latest"])
def test_DO2_a_client_that_is_posted_in_part_is_no_change_of_the_plan(contoso, behavior):
    made = contoso(RULES % behavior + '[modifiers]\nzero_lines = "drop"\n')
    month(made)
    digest = made.office.run("plan", "2026-11", "--json").must(3).json["digest"]
    assert len(post(made, digest, 3)["postings"]) == 1
    again = post(made, digest, 3)
    assert again["postings"] == [] and [hold["reason"] for hold in again["holds"]] == ["unknown_charge_type"]


def test_DO2_what_is_new_beside_the_posted_part_is_a_change(contoso):
    made = contoso(RULES % "new")
    month(made)
    digest = made.office.run("plan", "2026-11", "--json").must(3).json["digest"]
    post(made, digest, 3)
    made.month("2026-11", made.charge(M365, 2, "22.00", sub="s-4"))
    assert post(made, digest, 5)["error"]["code"] == "BS-STALE-PLAN"
