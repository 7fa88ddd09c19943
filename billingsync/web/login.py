"""Signing in and out: with a password, by the company's sign-in, or with a link that is good once."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import structlog
from starlette.responses import Response

from billingsync.core.desk import LinkKind, Role, SignIn
from billingsync.errors import UsageError
from billingsync.store.notices import Thing
from billingsync.store.people import Person, normal_email
from billingsync.web import sso
from billingsync.web.ask import Ask, NotFound, Page, Shown, own_path, see
from billingsync.web.passwords import Busy, check_password

_WRONG = "The e-mail address or the password is not right."


def form(ask: Ask, *, says: str = "", status: int = 200, email: str = "") -> Shown:
    """The page to sign in on."""
    login = ask.desk.settings.desk.login
    to = own_path(ask.text("next") or ask.query("next") or "/")
    by_password = login != "sso" or bool(ask.query("password")) or bool(email)
    view = {"says": says, "email": email, "next": to, "by_password": by_password, "by_sso": login != "password"}
    return Shown(template="login", title="Sign in", view=view, status=status)


def show_login(ask: Ask) -> Shown | Response:
    if ask.session is not None:
        return see(own_path(ask.query("next") or "/"))
    return form(ask)


def sign_in(ask: Ask) -> Shown | Response:
    """With a password. Who is unknown gets the same answer, in the same time, as who mistypes [SE5]."""
    ledger, email = ask.ledger, ask.text("email").casefold()[:254]
    waits = ledger.sign_in_waits(email, ask.address, ask.now)
    if waits > timedelta(0):
        seconds = math.ceil(waits.total_seconds())
        return form(ask, says=f"Too many tries. Wait {seconds} seconds, then try again.", status=429, email=email)
    person = ledger.person_by_email(email)
    usable = person is not None and person.disabled_at is None and _may_use_password(ask, person)
    given = ask.form.get("password", "")
    try:
        fits = ask.desk.passwords.fits(
            person.password if person is not None and usable else None, given if isinstance(given, str) else ""
        )
    except Busy:
        return form(ask, says="Others are signing in just now. Try again in a moment.", status=429, email=email)
    if not fits or person is None:
        ledger.note_failure(email, ask.address, ask.now)
        return form(ask, says=_WRONG, status=401, email=email)
    ledger.forget_failures(email, ask.now)
    if ask.desk.settings.desk.login == "sso":
        _tell_break_glass(ask, person)
    return enter(ask, person, SignIn.PASSWORD, own_path(ask.text("next")))


def _may_use_password(ask: Ask, person: Person) -> bool:
    """Where people sign in by SSO, an admin may still use a password, should the issuer be away [SE7]."""
    return ask.desk.settings.desk.login != "sso" or person.as_role is Role.ADMIN


def _tell_break_glass(ask: Ask, person: Person) -> None:
    thing = Thing(
        key=f"desk password {person.email} {ask.now.isoformat(timespec='seconds')}",
        event="failed",
        title=f"{person.email} signed in to the desk with a password",
        body=f"People sign in by SSO; this sign-in from {ask.address} went past it.",
        steps=(("billingsync", "desk", "people"),),
        lasting=False,
    )
    ask.ledger.tell([thing], [], ask.now)


def enter(ask: Ask, person: Person, how: SignIn, to: str) -> Response:
    """Starts a session, ends the one that this browser had, and goes on."""
    if ask.session is not None:
        ask.ledger.end_session(ask.session.sha256, who=ask.who, now=ask.now)
    agent = ask.request.headers.get("user-agent", "")
    secret = ask.ledger.start_session(person, how, address=ask.address, agent=agent, now=ask.now)
    answer = see(to)
    site = ask.desk.site
    answer.set_cookie(site.cookie, secret, path="/", secure=site.secure, httponly=True, samesite="lax")
    return answer


def sign_out(ask: Ask) -> Response:
    ask.ledger.end_session(ask.signed_in.sha256, who=ask.who, now=ask.now)
    answer = see("/login")
    site = ask.desk.site
    answer.delete_cookie(site.cookie, path="/", secure=site.secure, httponly=True, samesite="lax")
    return answer


# Links that are good once ---------------------------------------------------------------------------------------------


def show_link(ask: Ask) -> Shown:
    """Looking at a link does not use it up: mail programs look at links before people do."""
    link = ask.ledger.look_at_link(ask.path("secret"), ask.now)
    if link is None or link.kind not in (LinkKind.FIRST, LinkKind.PASSWORD):
        raise NotFound("This link is not good any more. Ask for a new one.")
    person = ask.ledger.person(link.person) if link.person else None
    return _link_form(ask, person.email if person else "", "")


def _link_form(ask: Ask, email: str, says: str) -> Shown:
    view = {"email": email, "known": bool(email) and not ask.text("email"), "says": says, "secret": ask.path("secret")}
    return Shown(template="once", title="Choose a password", view=view, status=422 if says else 200)


def use_link(ask: Ask) -> Shown | Response:
    """Sets the password, makes the first admin where the link is for that, and signs the person in."""
    ledger, secret = ask.ledger, ask.path("secret")
    link = ledger.look_at_link(secret, ask.now)
    if link is None or link.kind not in (LinkKind.FIRST, LinkKind.PASSWORD):
        raise NotFound("This link is not good any more. Ask for a new one.")
    person = ledger.person(link.person) if link.person else None
    email = person.email if person else ask.text("email")
    password, again = ask.form.get("password", ""), ask.form.get("again", "")
    try:
        email = normal_email(email)
        check_password(str(password), email)
        if password != again:
            raise UsageError("The two passwords are not the same.")
        if link.kind == LinkKind.FIRST and ledger.people():
            raise UsageError("There are people already. Ask an admin for a link.")
        kept = ask.desk.passwords.hash(str(password))
    except UsageError as wrong:
        return _link_form(ask, person.email if person else email, wrong.message)
    except Busy:
        return _link_form(ask, person.email if person else email, "Others are signing in just now. Try again.")
    used = ledger.use_link(secret, LinkKind(link.kind), ask.now)
    if used is None:
        raise NotFound("This link is not good any more. Ask for a new one.")
    if used.kind == LinkKind.FIRST:
        person = ledger.add_person(email, Role.ADMIN, who=f"the first link, from {ask.address}", now=ask.now)
    assert person is not None
    ledger.set_password(person.id, kept, who=f"{person.email} (desk, {ask.address})", now=ask.now)
    return enter(replace(ask, session=None), person, SignIn.LINK, "/")


# SSO ------------------------------------------------------------------------------------------------------------------


async def start_sso(ask: Ask) -> Response:
    """A link, not a form, so that the policy of where forms may go needs no exception [SE4]."""
    if ask.desk.settings.desk.login == "password":
        raise NotFound
    return await sso.start(ask)


async def end_sso(ask: Ask) -> Shown | Response:
    """Back from the issuer. What was wrong is for the log: who tries out answers learns nothing [SE6]."""
    if ask.desk.settings.desk.login == "password":
        raise NotFound
    try:
        found = await sso.finish(ask)
    except sso.NotSignedIn as failed:
        structlog.get_logger("desk").warning("sso failed", why=failed.why, address=ask.address)
        return form(ask, says="Signing in did not work. Try again, or ask an admin.", status=401)
    return enter(ask, found.person, SignIn.SSO, found.to)


PAGES = (
    Page(path="/login", show=show_login, role=None),
    Page(path="/login", show=sign_in, role=None, post=True),
    Page(path="/logout", show=sign_out, role=Role.USER, post=True),
    Page(path="/login/once/{secret}", show=show_link, role=None),
    Page(path="/login/once/{secret}", show=use_link, role=None, post=True),
    Page(path="/login/sso", show=start_sso, role=None),
    Page(path="/login/sso/callback", show=end_sso, role=None),
)
