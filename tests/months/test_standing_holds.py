"""What stands until a person settles it is told with a code that scripts see, and with what one would approve."""

from __future__ import annotations

from collections.abc import Callable

from months_rules import OPEN
from scene import BACKUP, M365, SHIELD, Scene

Stage = Callable[..., Scene]
OCT, NOV = "2026-10", "2026-11"


def test_R2_a_standing_true_up_is_held_by_status_too_until_it_is_settled(stage: Stage) -> None:
    made = stage(OPEN + '[approval]\nauto_post = "within_limits"\n')
    made.month(OCT, made.charge(M365, 10, "21.00", sub="s-1"), invoice="A")
    made.office.run("run", OCT, "--yes").must()
    made.month(NOV, made.charge(M365, 10, "21.00", sub="s-1"))
    made.sandbox.pax8.invoices[0]["status"] = "Credited"
    made.office.run("worker", "--once").must(3)
    made.office.run("status").must(3)
    (up,) = made.office.plan(NOV)["true_ups"]
    made.office.run(*[word.replace("TEXT", "seen") for word in up["ways"][0]["command"][1:]]).must()
    made.office.run("run", NOV, "--yes").must()
    made.office.run("worker", "--once").must()
    made.office.run("status").must()


def test_V1_whoever_approves_a_bill_sees_each_product_of_it(stage: Stage) -> None:
    made = stage(OPEN.replace("[limits]\n", "[limits]\nclient_amount_max = 10\n"))
    charges = [made.charge(sku, 1, price, sub=sku) for sku, price in ((M365, 9), (BACKUP, 7), (SHIELD, 5))]
    made.month(NOV, *charges, made.charge(BACKUP, 1, 8, sub="more"))
    for words in (("plan", NOV, "--lines"), ("holds", NOV)):
        said = [" ".join(line.split()) for line in made.office.run(*words).must(3).stdout.splitlines()]
        assert "Microsoft 365 Business Premium 9.00" in said, said
        assert "Harborline Backup for Servers (2 charges) 15.00" in said
        assert "Lantern Mail Shield Advanced 5.00" in said
