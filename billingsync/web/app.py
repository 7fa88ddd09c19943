"""The desk as an ASGI application: every page by its declared role, every failure as a page that says what was not
done."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from billingsync.core.desk import Role
from billingsync.errors import (
    BillingSyncError,
    ImportRefused,
    LedgerError,
    NoSnapshot,
    NotReady,
    NotReleased,
    Refused,
    RulesError,
    StaleCard,
    UpstreamError,
    UsageError,
)
from billingsync.reconcile.kept_comparison import Comparisons
from billingsync.report.document import dump, error_document
from billingsync.report.numbers import Figures
from billingsync.settings import LiveSettings, Settings
from billingsync.store.ledger import Ledger
from billingsync.store.sessions import Session, SessionLimits
from billingsync.web import login
from billingsync.web.ask import Ask, Desk, NotFound, Page, Shown, own_path
from billingsync.web.frame import frame
from billingsync.web.guard import Cut, Guard
from billingsync.web.pages import (
    activity,
    cards,
    charges,
    clients,
    connections,
    exclusions,
    expiring,
    holds,
    imports,
    lifecycle,
    me,
    months,
    orders,
    people,
    plans,
    product_files,
    products,
    ready,
    reconcile,
    rules,
    runs,
    start,
    status,
    together,
)
from billingsync.web.render import render, render_part, static_files
from billingsync.web.site import Site
from billingsync.web.twins import Twin, sheets

MOST_FIELDS = 1000
_STATUS: tuple[tuple[type[BillingSyncError], int], ...] = (
    (NotFound, 404),
    (UsageError, 422),
    (RulesError, 422),
    (ImportRefused, 422),
    (Refused, 409),
    (NotReleased, 409),
    (NotReady, 409),
    (NoSnapshot, 409),
    (StaleCard, 409),
    (LedgerError, 503),
    (UpstreamError, 502),
)


def pages() -> tuple[Page, ...]:
    """Every page of the desk."""
    return (
        *login.PAGES,
        *ready.PAGES,
        *orders.PAGES,
        *holds.PAGES,
        *charges.PAGES,
        *reconcile.PAGES,
        *cards.PAGES,
        *expiring.PAGES,
        *imports.PAGES,
        *clients.PAGES,
        *product_files.PAGES,
        *together.PAGES,
        *lifecycle.PAGES,
        *products.PAGES,
        *exclusions.PAGES,
        *rules.PAGES,
        *connections.PAGES,
        *start.PAGES,
        *plans.PAGES,
        *months.PAGES,
        *runs.PAGES,
        *activity.PAGES,
        *status.PAGES,
        *me.PAGES,
        *people.PAGES,
    )


def session_limits(settings: Settings) -> SessionLimits:
    desk = settings.desk
    return SessionLimits(absolute=timedelta(hours=desk.session_hours), idle=timedelta(minutes=desk.idle_minutes))


def make_desk(live: LiveSettings, ledger: Ledger, site: Site, **others: Any) -> Desk:
    """What the pages work with, from settings and ledger."""
    settings = live.current()
    limits = session_limits(settings)
    figures, comparisons = Figures(settings.locale), Comparisons(ledger, settings)
    return Desk(
        live=live,
        ledger=ledger,
        site=site,
        limits=limits,
        figures=figures,
        comparisons=comparisons,
        **others,
    )


def make_app(desk: Desk) -> ASGIApp:
    """The application. A page that does not say who may use it is a mistake of ours and does not start."""
    routes = [
        Route("/healthz", _healthz),
        Route("/static/{name}", _static),
    ]
    for page in pages():
        routes += _routes(desk, page)
    app = Starlette(
        routes=routes,
        middleware=[Middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)],
        exception_handlers={HTTPException: _http_error(desk), Exception: _bug},
    )
    app.router.redirect_slashes = False
    return Guard(app, desk.site)


def _routes(desk: Desk, page: Page) -> list[Route]:
    methods = ["POST"] if page.post else ["GET"]
    # The twins first: `{period}` would fit `2026-11.json` too.
    twins = [twin for twin in Twin if twin is not Twin.PAGE and (page.twin if twin is Twin.JSON else page.sheets)]
    return [
        *(Route(f"{page.path.rstrip('/')}.{twin}", _endpoint(desk, page, twin), methods=["GET"]) for twin in twins),
        Route(page.path, _endpoint(desk, page, Twin.PAGE), methods=methods),
    ]


def _endpoint(desk: Desk, page: Page, twin: Twin) -> Any:
    async def endpoint(request: Request) -> Response:
        form = FormData()
        session: Session | None = None
        try:
            session = await run_in_threadpool(_session, desk, request)
            ask = Ask(desk=desk, request=request, now=desk.clock(), session=session, form=form)
            refused = _refused(ask, page, twin)
            if refused is not None:
                return refused
            if page.post:
                form = await _form(request, page.upload)
                ask = Ask(desk=desk, request=request, now=ask.now, session=session, form=form)
            if inspect.iscoroutinefunction(page.show):
                shown = await page.show(ask)
            else:
                shown = await run_in_threadpool(page.show, ask)
            return await run_in_threadpool(_answer, ask, page, shown, twin)
        except ClientDisconnect:
            return PlainTextResponse("", status_code=400)  # nobody reads it: the browser has gone
        except BillingSyncError as failed:
            ask = Ask(desk=desk, request=request, now=desk.clock(), session=session, form=form)
            return await run_in_threadpool(error_page, ask, failed, twin is Twin.JSON)

    return endpoint


def _session(desk: Desk, request: Request) -> Session | None:
    secret = request.cookies.get(desk.site.cookie, "")
    return desk.ledger.session(secret, desk.limits, desk.clock()) if 20 <= len(secret) <= 200 else None


def _refused(ask: Ask, page: Page, kind: Twin) -> Response | None:
    """The one check of who may use a page: its declared role against the person's."""
    twin = kind is Twin.JSON
    if page.role is None:
        return None
    if ask.session is None:
        if twin or ask.fragment or page.post:
            return _answer_error(ask, 401, "BS-SIGN-IN", "You are not signed in any more. Nothing was done.", twin)
        path = ask.request.url.path + (f"?{ask.request.url.query}" if ask.request.url.query else "")
        return RedirectResponse(f"/login?next={quote(own_path(path), safe='')}", status_code=303)
    if not ask.role.may(page.role):
        says = f"This is for people of the role {page.role}; yours is {ask.role}. Nothing was done."
        return _answer_error(ask, 403, "BS-ROLE", says, twin)
    return None


async def _form(request: Request, upload: bool) -> FormData:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("", "multipart/form-data" if upload else "application/x-www-form-urlencoded"):
        raise UsageError("This was not sent by a form of the desk.")
    try:
        return await request.form(max_fields=MOST_FIELDS, max_files=1 if upload else 0)
    except Cut:
        raise
    except HTTPException as wrong:
        raise UsageError("The form could not be read. Nothing was done.") from wrong


def _answer(ask: Ask, page: Page, shown: Shown | Response, twin: Twin) -> Response:
    if isinstance(shown, Response):
        return shown
    if twin is Twin.PAGE:
        return _page(ask, shown)
    if page.role is not None and ask.role.may(Role.FINANCIAL):
        said = {"who": ask.who, "path": ask.request.url.path[:200]}
        ask.ledger.note_act("read", said, ask.now)
    if twin is not Twin.JSON:
        return sheets(ask, shown, twin)
    assert shown.twin is not None, shown.template
    body = {"format_version": "1.0", "as_at": ask.now.isoformat(timespec="seconds"), "next_steps": []}
    return Response(dump(body | dict(shown.twin())), media_type="application/json")


def _page(ask: Ask, shown: Shown) -> Response:
    view = {"title": shown.title, **frame(ask), **shown.view}
    text = render_part(shown.template, shown.part, view) if ask.fragment else render(shown.template, view)
    return HTMLResponse(text, status_code=shown.status, headers={"Vary": "HX-Request, Cookie"})


def error_page(ask: Ask, failed: BillingSyncError, twin: bool = False) -> Response:
    """A failure as a page: what happened, the code, what to type next."""
    status = next((status for kind, status in _STATUS if isinstance(failed, kind)), 500)
    if status >= 500:
        structlog.get_logger("desk").error("page failed", code=failed.code, says=failed.message)
    return _answer_error(ask, status, failed.code, failed.message, twin, failed.next_steps)


def _answer_error(
    ask: Ask, status: int, code: str, says: str, twin: bool, steps: Sequence[Sequence[str]] = ()
) -> Response:
    if twin:
        return JSONResponse(error_document(code, says, steps, 1), status_code=status)
    commands = [" ".join(step) for step in steps]
    view = {"code": code, "says": says.splitlines() or [""], "commands": commands, "back": _came_from(ask)}
    shown = Shown(template="error", title="Nothing was done" if status != 404 else "Not found", view=view)
    answer = _page(ask, shown)
    answer.status_code = status
    return answer


def _came_from(ask: Ask) -> str:
    """The page whose form was sent, as it stands now; "" where it was no form, or no page of ours."""
    came = urlsplit(ask.request.headers.get("referer", ""))
    if ask.request.method != "POST" or came.netloc not in ask.desk.site.hosts:
        return ""
    to = own_path(came.path + (f"?{came.query}" if came.query else ""))
    return "" if to == "/" else to


_SAYS = {
    404: "There is no such page.",
    405: "This cannot be done here.",
    408: "It was sent too slowly. Nothing was done.",
    413: "Too much was sent at once.",
}


def _http_error(desk: Desk) -> Any:
    async def handler(request: Request, failed: Exception) -> Response:
        assert isinstance(failed, HTTPException)
        session = await run_in_threadpool(_session, desk, request)
        ask = Ask(desk=desk, request=request, now=desk.clock(), session=session, form=FormData())
        says = _SAYS.get(failed.status_code, "The request could not be read.")
        code = "BS-NOT-FOUND" if failed.status_code == 404 else "BS-USAGE"
        answer = await run_in_threadpool(
            _answer_error, ask, failed.status_code, code, says, request.url.path.endswith(".json")
        )
        if isinstance(failed, Cut):
            answer.headers["Connection"] = "close"
        return answer

    return handler


async def _bug(request: Request, failed: Exception) -> Response:
    """Our own mistake: a sentence for people, the rest for the log."""
    structlog.get_logger("desk").error("page failed", kind=type(failed).__name__, exc_info=failed)
    return PlainTextResponse(
        "billingsync failed in a way that it should not. Nothing is half-done; the log says more.\n", status_code=500
    )


async def _healthz(request: Request) -> Response:
    return JSONResponse({"state": "alive"})


async def _static(request: Request) -> Response:
    found = static_files().get(request.path_params["name"])
    if found is None:
        raise HTTPException(404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.zipped, media_type=found.kind, headers=headers | {"Content-Encoding": "gzip"})
    return Response(found.content, media_type=found.kind, headers=headers)
