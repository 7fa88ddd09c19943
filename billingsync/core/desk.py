"""Who may do what on the desk."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a person may see and do. Each role may do what the ones before it may."""

    USER = "user"
    FINANCIAL = "financial"
    ADMIN = "admin"

    def may(self, needed: Role) -> bool:
        """Whether a person of this role may do what `needed` is asked for."""
        order = tuple(Role)
        return order.index(self) >= order.index(needed)


class SignIn(StrEnum):
    """How a person signed in: with a password, by the company's sign-in, or with a link that is good once."""

    PASSWORD = "password"  # noqa: S105
    SSO = "sso"
    LINK = "link"


class LinkKind(StrEnum):
    """What a link that is good once does: makes the first admin, sets a password, or carries a sign-in by SSO home."""

    FIRST = "first"
    PASSWORD = "password"  # noqa: S105
    SSO = "sso"


class OrderKind(StrEnum):
    """What the desk can ask for that takes longer than a page."""

    PLAN = "plan"  # read Pax8 and HaloPSA again, and plan
    POST = "post"
    UNDO = "undo"
    MAP_COMPANY = "map_company"
    CONFIRM_GUESSED = "confirm_guessed"  # several companies whose client was guessed
    SNAPSHOT = "snapshot"  # read both sides at one time, to compare them
    MAP_PRODUCT = "map_product"
    MAP_PRODUCTS = "map_products"  # of a file: all or none
    TEST = "test"  # try the logins, rights and clocks
    APPROVE_CARDS = "approve_cards"  # write cards to recurring invoices
    UNDO_CARDS = "undo_cards"
    PAIR_CARD = "pair_card"


class OrderState(StrEnum):
    """`asked` waits for a second person, `waiting` for a process. `begun` is of an order that a process carries out, or
    carried out when it died: the next one goes on."""

    ASKED = "asked"
    WAITING = "waiting"
    BEGUN = "begun"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"

    @property
    def open(self) -> bool:
        return self in (OrderState.ASKED, OrderState.WAITING, OrderState.BEGUN)
