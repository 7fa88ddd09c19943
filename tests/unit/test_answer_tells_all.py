"""When the answer to a change is believed like a read, and when the invoice is read once more."""

from decimal import Decimal

import pytest

from billingsync.psa.halo.disturbed import tells_all

BEFORE = {
    "id": -7,
    "client_id": 12,
    "reference": "",
    "last_modified": "2026-11-05T09:00:00",
    "lines": [{"id": 1, "qty_order": Decimal(2), "tax_code": 3}, {"id": 2, "qty_order": Decimal(1), "tax_code": 3}],
}
AFTER = BEFORE | {"last_modified": "2026-11-05T09:00:01"}


@pytest.mark.parametrize(
    "answer",
    [
        AFTER,
        AFTER | {"change_seq": 8},
        AFTER | {"reference": None},  # told, and for others to compare
        AFTER | {"lines": [*BEFORE["lines"], {"id": 3, "qty_order": 5}]},
        AFTER | {"lines": BEFORE["lines"][:1]},  # a line that is gone is told by being absent: others compare that
    ],
)
def test_an_answer_with_all_that_was_there_is_as_good_as_a_read(answer: dict[str, object]) -> None:
    assert tells_all(BEFORE, answer)


@pytest.mark.parametrize(
    "answer",
    [
        BEFORE,  # not saved since: an echo, or what was there before
        {},
        {name: value for name, value in AFTER.items() if name != "reference"},
        {name: value for name, value in AFTER.items() if name != "lines"},
        {name: value for name, value in AFTER.items() if name != "last_modified"},
        AFTER | {"last_modified": ""},
        AFTER | {"lines": [{"id": 1, "qty_order": Decimal(2)}, BEFORE["lines"][1]]},  # as it was sent, without a tax
        AFTER | {"lines": [*BEFORE["lines"], {"qty_order": 5}]},  # a new line that nobody could find again
        AFTER | {"lines": [*BEFORE["lines"], {"id": 0, "qty_order": 5}]},
        AFTER | {"lines": [*BEFORE["lines"], {"id": -1, "qty_order": 5}]},
        AFTER | {"lines": [*BEFORE["lines"], {"id": 2, "qty_order": 5, "tax_code": 3}]},
    ],
)
def test_an_answer_with_less_is_not(answer: dict[str, object]) -> None:
    assert not tells_all(BEFORE, answer)


def test_where_nothing_is_known_of_before_no_answer_is_enough() -> None:
    assert not tells_all({}, AFTER)
