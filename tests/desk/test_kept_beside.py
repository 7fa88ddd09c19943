"""A plan that is made anew is kept as what differs from the one that was read, and comes back whole."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from office import MONTH, Office
from sqlalchemy import func, select, update

from billingsync.core.inputs import Memory
from billingsync.core.rules import Rulebook
from billingsync.run import kept_plan
from billingsync.run.kept_plan import held_plan_of, kept_month, kept_plan_of
from billingsync.run.plan import Planned, plan_again
from billingsync.run.rule_names import lists_last_read
from billingsync.run.set_aside import put_back, set_aside
from billingsync.store.columns import zipped
from billingsync.store.plans import OF
from billingsync.store.schema import plan_inputs

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def newest(desk: Office) -> str:
    digest = desk.ledger.newest_digest(MONTH)
    assert digest
    return digest


def aside(desk: Office, nth: int) -> Planned:
    """As *Update plan* with one line unticked."""
    charges = [
        line["charges"][0]
        for row in desk.ledger.client_rows(newest(desk))
        for body in [desk.ledger.client_body(newest(desk), row.nth)]
        for line in (body or {})["lines"]
    ]
    set_aside(desk.ledger, charges[nth : nth + 1], who="the test", now=desk.clock())
    return plan_again(desk.ledger, desk.settings.rules_dir, newest(desk))


def forget() -> None:
    """As in another process."""
    kept_plan._kept.clear()


def of(desk: Office, digest: str) -> object:
    body = desk.ledger.kept_inputs(digest)
    assert body
    return body.get(OF, "")


def size(desk: Office, digest: str) -> int:
    query = select(func.length(plan_inputs.c.body)).where(plan_inputs.c.digest == digest)
    with desk.ledger.reading() as connection:
        return int(connection.scalar(query) or 0)


def whole(desk: Office, made: Planned) -> None:
    """What is read again is what was made."""
    forget()
    month = kept_month(desk.ledger, made.plan.digest)
    assert month.plan == made.plan == kept_plan_of(desk.ledger, made.plan.digest).plan
    assert month.inputs == replace(made.inputs, rulebook=Rulebook(), memory=Memory())
    held = held_plan_of(desk.ledger, made.plan.digest)
    assert [one.holds for one in held.clients] == [one.holds for one in made.plan.clients]
    inputs = made.inputs
    assert lists_last_read(desk.ledger) == (inputs.companies, inputs.clients, inputs.sources)


def test_a_plan_made_anew_comes_back_whole(desk: Office) -> None:
    first = newest(desk)
    made = aside(desk, 0)
    assert of(desk, first) == "" and of(desk, made.plan.digest) == first
    assert size(desk, made.plan.digest) < size(desk, first) / 2
    whole(desk, made)


def test_one_that_is_made_of_that_is_kept_beside_the_first_too(desk: Office) -> None:
    first = newest(desk)
    aside(desk, 0)
    second = aside(desk, 3)
    assert of(desk, second.plan.digest) == first
    whole(desk, second)


def test_without_the_first_in_memory_it_is_kept_whole(desk: Office) -> None:
    made = aside(desk, 0)
    forget()
    again = aside(desk, 3)
    assert of(desk, again.plan.digest) == "" and of(desk, made.plan.digest) != ""
    whole(desk, again)


def test_putting_back_gives_the_plan_that_there_was(desk: Office) -> None:
    first = newest(desk)
    made = aside(desk, 0)
    put_back(desk.ledger, list(made.inputs.set_aside), who="the test", now=desk.clock())
    back = plan_again(desk.ledger, desk.settings.rules_dir, made.plan.digest)
    assert back.plan.digest == first and of(desk, first) == ""
    third = aside(desk, 3)
    assert of(desk, third.plan.digest) == first
    whole(desk, third)


def test_beside_one_that_an_older_version_kept_without_its_plan_nothing_is_kept(desk: Office) -> None:
    first = newest(desk)
    own = plan_inputs.c.digest == first
    with desk.ledger.writing() as connection:
        body = json.loads(connection.scalar(select(plan_inputs.c.body).where(own)))
        del body["plan"]
        connection.execute(update(plan_inputs).where(own).values(body=zipped([json.dumps(body).encode()])))
    forget()
    assert plan_again(desk.ledger, desk.settings.rules_dir, first).plan.digest == first
    made = aside(desk, 0)
    assert of(desk, made.plan.digest) == ""
    whole(desk, made)
