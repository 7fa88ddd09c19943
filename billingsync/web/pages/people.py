"""People and their roles, for admins."""

from __future__ import annotations

from datetime import timedelta

from starlette.responses import Response

from billingsync.core.desk import LinkKind, Role
from billingsync.errors import UsageError
from billingsync.report.html import clean
from billingsync.store.people import Person
from billingsync.web.ask import Ask, NotFound, Page, Shown, see
from billingsync.web.views.times import moment

LINK_GOOD_FOR = timedelta(hours=24)


def link_for(ask: Ask, person: Person) -> str:
    """A link to set a password, good once."""
    secret = ask.ledger.make_link(LinkKind.PASSWORD, person=person.id, good_for=LINK_GOOD_FOR, now=ask.now)
    return f"{ask.desk.site.url}/login/once/{secret}"


def show(ask: Ask) -> Shown:
    return _list(ask)


def _list(ask: Ask, *, link: str = "", whom: str = "", says: str = "", email: str = "", role: str = "") -> Shown:
    zone = ask.desk.settings.zone
    everybody = ask.ledger.people()
    rows = [
        {
            "id": person.id,
            "email": clean(person.email, 254),
            "role": person.role,
            "seen": moment(person.seen_at, zone),
            "how": "SSO" if person.issuer else "password" if person.password else "no password yet",
            "sso": person.issuer is not None,
            "disabled": person.disabled_at is not None,
            "me": person.id == ask.signed_in.person.id,
        }
        for person in everybody
    ]
    view = {
        "rows": rows,
        "roles": [role.value for role in Role],
        "link": link,
        "whom": whom,
        "says": says,
        "given": {"email": email, "role": role or Role.USER.value},
    }
    twin_rows = [{key: row[key] for key in ("email", "role", "seen", "how", "disabled")} for row in rows]
    return Shown(
        template="people", title="People", view=view, status=422 if says else 200, twin=lambda: {"rows": twin_rows}
    )


def add(ask: Ask) -> Shown:
    email, role = ask.text("email"), ask.text("role")
    try:
        person = ask.ledger.add_person(email, _role(role), who=ask.who, now=ask.now)
    except UsageError as wrong:
        return _list(ask, says=wrong.message, email=email[:254], role=role)
    return _list(ask, link=link_for(ask, person), whom=person.email)


def make_link(ask: Ask) -> Shown:
    person = _person(ask)
    if person.issuer is not None:
        raise UsageError(f"{person.email} signs in by SSO and needs no password.")
    return _list(ask, link=link_for(ask, person), whom=person.email)


def set_role(ask: Ask) -> Response:
    ask.ledger.set_role(_person(ask).id, _role(ask.text("role")), who=ask.who, now=ask.now)
    return see("/people")


def disable(ask: Ask) -> Response:
    ask.ledger.disable_person(_person(ask).id, who=ask.who, now=ask.now)
    return see("/people")


def _person(ask: Ask) -> Person:
    found = ask.ledger.person(ask.path("id"))
    if found is None:
        raise NotFound("There is no such person.")
    return found


def _role(text: str) -> Role:
    if text not in tuple(Role):
        raise UsageError(f"A role is one of {', '.join(Role)}, not {text!r:.40}.")
    return Role(text)


PAGES = (
    Page(path="/people", show=show, role=Role.ADMIN, twin=True),
    Page(path="/people", show=add, role=Role.ADMIN, post=True),
    Page(path="/people/{id}/link", show=make_link, role=Role.ADMIN, post=True),
    Page(path="/people/{id}/role", show=set_role, role=Role.ADMIN, post=True),
    Page(path="/people/{id}/disable", show=disable, role=Role.ADMIN, post=True),
)
