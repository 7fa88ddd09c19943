"""Oneself: the password, and the browsers that are signed in."""

from __future__ import annotations

from starlette.responses import Response

from billingsync.core.desk import Role
from billingsync.errors import UsageError
from billingsync.report.html import clean
from billingsync.web.ask import Ask, Page, Shown, see
from billingsync.web.passwords import Busy, check_password
from billingsync.web.views.times import moment

THEMES = {"": "As the system has it", "light": "Light", "dark": "Dark"}
_THEME = "desk-theme"  # a cookie: how it looks is a matter of this browser
_YEAR_S = 365 * 24 * 3600


def chosen_theme(ask: Ask) -> str:
    """ "light" or "dark"; "" where the browser follows its system."""
    theme = ask.request.cookies.get(_THEME, "")
    return theme if theme in THEMES else ""


def set_theme(ask: Ask) -> Response:
    theme = ask.text("theme")
    if theme not in THEMES:
        raise UsageError("Choose one of the themes.")
    answer = see("/me")
    answer.set_cookie(
        _THEME, theme, max_age=_YEAR_S, path="/", secure=ask.desk.site.secure, httponly=True, samesite="lax"
    )
    return answer


def show(ask: Ask) -> Shown:
    return _me(ask, "")


def _me(ask: Ask, says: str) -> Shown:
    zone, mine = ask.desk.settings.zone, ask.signed_in
    rows = [
        {
            "sha256": one.sha256,
            "id": one.id,
            "agent": clean(one.agent, 120) or "unknown",
            "address": clean(one.address, 64),
            "made": moment(one.made_at, zone),
            "seen": moment(one.seen_at, zone),
            "here": one.sha256 == mine.sha256,
        }
        for one in ask.ledger.sessions(mine.person.id, ask.desk.limits, ask.now)
    ]
    view = {"rows": rows, "by_password": mine.person.issuer is None, "says": says, "role": mine.person.role}
    view |= {"themes": list(THEMES.items()), "theme_chosen": chosen_theme(ask)}
    return Shown(template="me", title="You", view=view, status=422 if says else 200)


def set_password(ask: Ask) -> Shown | Response:
    """A new password ends every session, this one too: whoever knew the old one is out."""
    person = ask.signed_in.person
    old, new, again = (str(ask.form.get(name, "")) for name in ("old", "password", "again"))
    if person.issuer is not None:
        raise UsageError("You sign in by SSO: your password is not kept here.")
    try:
        if not ask.desk.passwords.fits(person.password, old):
            ask.ledger.note_failure(person.email, ask.address, ask.now)
            raise UsageError("The present password is not right.")
        check_password(new, person.email)
        if new != again:
            raise UsageError("The two new passwords are not the same.")
        kept = ask.desk.passwords.hash(new)
    except UsageError as wrong:
        return _me(ask, wrong.message)
    except Busy:
        return _me(ask, "Others are signing in just now. Try again in a moment.")
    ask.ledger.set_password(person.id, kept, who=ask.who, now=ask.now)
    return see("/login")


def end_session(ask: Ask) -> Response:
    mine = ask.signed_in
    own = {one.sha256 for one in ask.ledger.sessions(mine.person.id, ask.desk.limits, ask.now)}
    wanted = ask.text("session")
    if wanted in own:
        ask.ledger.end_session(wanted, who=ask.who, now=ask.now)
    return see("/me")


def end_others(ask: Ask) -> Response:
    mine = ask.signed_in
    ask.ledger.end_sessions(mine.person.id, but=mine.sha256, who=ask.who, now=ask.now)
    return see("/me")


def still_here(ask: Ask) -> Response:
    """Somebody is still reading a page that was open for long."""
    return Response(status_code=204)


PAGES = (
    Page(path="/me", show=show, role=Role.USER),
    Page(path="/me/password", show=set_password, role=Role.USER, post=True),
    Page(path="/me/sessions/end", show=end_session, role=Role.USER, post=True),
    Page(path="/me/sessions/end-others", show=end_others, role=Role.USER, post=True),
    Page(path="/me/theme", show=set_theme, role=Role.USER, post=True),
    Page(path="/me/still-here", show=still_here, role=Role.USER, post=True),
)
