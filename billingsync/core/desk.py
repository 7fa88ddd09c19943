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
